/** This machine by its names. */
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]", "::1"];

/**
 * Keeps requests to this machine from `HTTP_PROXY`, as Docker and Go do: a proxy elsewhere cannot reach what listens
 * here. Bun looks at `NO_PROXY` with every request.
 */
export function exemptLoopback(env: Record<string, string | undefined>): void {
  const name = env["no_proxy"] !== undefined ? "no_proxy" : "NO_PROXY";
  env[name] = [env[name], ...LOOPBACK].filter(Boolean).join(",");
}
