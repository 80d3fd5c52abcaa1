/** A better error message is not worth a longer wait. */
const TIMEOUT_MS = 5000;

/**
 * Asks a server who issued its certificate: `Company Root (Company Ltd)`. A person can tell from it whether the
 * certificate is the registry's or that of an intercepting proxy. Undefined: it cannot be found out. Sends nothing.
 */
export async function certificateIssuer({ hostname, port }: URL): Promise<string | undefined> {
  const host = hostname.replace(/^\[|\]$/g, "");
  // Slow to load, and only needed here.
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
  socket.setTimeout(TIMEOUT_MS, () => resolve(undefined));
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
    socket.destroy();
  }
}
