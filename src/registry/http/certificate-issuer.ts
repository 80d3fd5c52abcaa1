/** The time limit is short: the result only improves a message. */
const TIMEOUT_MS = 5000;

/** The facts of a server's certificate. */
export type ServerCertificate = {
  /** Such as `Company Root (Company Ltd)`. It helps to tell a private authority from an intercepted connection. */
  readonly issuer: string | undefined;
  /** The host names and addresses that it covers. */
  readonly names: readonly string[];
  readonly validTo: Date;
};

/** Returns the issuer of a server's certificate. Undefined if it cannot be found out. Sends no data. */
export async function certificateIssuer(url: URL): Promise<string | undefined> {
  return (await serverCertificate(url))?.issuer;
}

/**
 * Returns a server's certificate, trusted or not. Undefined if it cannot be found out. Sends no data.
 *
 * @param proxy the address of the HTTP proxy on the way
 */
export async function serverCertificate(
  { hostname, port }: URL,
  proxy?: URL,
): Promise<ServerCertificate | undefined> {
  const host = hostname.replace(/^\[|\]$/g, "");
  // These modules load slowly, and few need them.
  const { isIP } = await import("node:net");
  const { connect } = await import("node:tls");
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const tunnel = proxy && (await openTunnel(proxy, `${hostname}:${port || 443}`, signal));
  if (proxy !== undefined && tunnel === undefined) return undefined;
  const { promise, resolve } = Promise.withResolvers<ServerCertificate | undefined>();
  const socket = connect({
    ...(tunnel === undefined ? { host, port: Number(port) || 443 } : { socket: tunnel }),
    // TLS has no server names for IP addresses.
    ...(isIP(host) === 0 && { servername: host }),
    rejectUnauthorized: false,
  });
  signal.addEventListener("abort", () => resolve(undefined));
  socket.once("error", () => resolve(undefined));
  socket.once("secureConnect", () => {
    const { issuer, subjectaltname = "", valid_to } = socket.getPeerCertificate();
    const { CN, O } = issuer ?? {};
    const [name, organisation] = [CN, O].map((part) => (Array.isArray(part) ? part.join(", ") : part));
    resolve({
      issuer:
        name !== undefined && organisation !== undefined
          ? `${name} (${organisation})`
          : (name ?? organisation),
      names: subjectaltname.split(", ").flatMap((each) => each.replace(/^(?:DNS|IP Address):/, "") || []),
      validTo: new Date(valid_to),
    });
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
    tunnel?.destroy();
  }
}

/** Opens a tunnel through a proxy (CONNECT). Undefined if the proxy refuses, or uses TLS itself. */
async function openTunnel(proxy: URL, to: string, signal: AbortSignal) {
  if (proxy.protocol !== "http:") return undefined;
  const { connect } = await import("node:net");
  // decodeURIComponent throws for a bare "%".
  const { unescape: decode } = await import("node:querystring");
  const { username, password, hostname, port } = proxy;
  const login = `${decode(username)}:${decode(password)}`;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(Number(port) || 80, hostname.replace(/^\[|\]$/g, ""));
  signal.addEventListener("abort", () => resolve(false));
  socket.on("error", () => resolve(false));
  socket.once("data", (said) => resolve(/^HTTP\/1\.[01] 2/.test(said.toString("latin1"))));
  socket.write(
    [
      `CONNECT ${to} HTTP/1.1`,
      `Host: ${to}`,
      ...(username === "" ? [] : [`Proxy-Authorization: Basic ${Buffer.from(login).toString("base64")}`]),
      "\r\n",
    ].join("\r\n"),
  );
  if (await promise) return socket;
  socket.destroy();
  return undefined;
}
