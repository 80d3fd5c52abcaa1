/** Nobody waits long for the better of two error messages. */
const TIMEOUT_MS = 5000;

/**
 * Who issued the certificate that a server shows, `Company Root (Company Ltd)`: a person knows from it whether it is the
 * registry's own or that of somebody who listens in. Undefined where it cannot be found out. Nothing is sent.
 */
export async function certificateIssuer({ hostname, port }: URL): Promise<string | undefined> {
  const host = hostname.replace(/^\[|\]$/g, "");
  // They take long to load, and only this failure needs them.
  const { isIP } = await import("node:net");
  const { connect } = await import("node:tls");
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({
    host,
    port: Number(port) || 443,
    // TLS has names for servers, none for addresses.
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
