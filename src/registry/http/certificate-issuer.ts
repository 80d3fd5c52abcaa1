/** Short: the result only makes an error message better. */
const TIMEOUT_MS = 5000;

/**
 * Returns the issuer of a server's certificate, such as `Company Root (Company Ltd)`: it tells a registry's own
 * authority from somebody who intercepts the traffic. Undefined if it cannot be found out. Sends no data.
 */
export async function certificateIssuer({ hostname, port }: URL): Promise<string | undefined> {
  const host = hostname.replace(/^\[|\]$/g, "");
  // These modules load slowly, and only this failure needs them.
  const { isIP } = await import("node:net");
  const { connect } = await import("node:tls");
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({
    host,
    port: Number(port) || 443,
    // TLS has no server names for IP addresses.
    ...(isIP(host) === 0 && { servername: host }),
    rejectUnauthorized: false,
  });
  const timer = setTimeout(resolve, TIMEOUT_MS);
  socket.once("error", () => resolve(undefined));
  socket.once("secureConnect", () => {
    const { CN, O } = socket.getPeerCertificate().issuer ?? {};
    const [name, organisation] = [CN, O].map((part) => (Array.isArray(part) ? part.join(", ") : part));
    resolve(
      name !== undefined && organisation !== undefined ? `${name} (${organisation})` : (name ?? organisation),
    );
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
