import { refuse } from "./answers.ts";

/** Host names by which this machine, and containers on it, address this machine. */
const NAMES = ["localhost", "127.0.0.1", "host.docker.internal", "host.containers.internal"];

/**
 * Refuses a request that a web page may have sent: one with another host name, which a page can point to this machine (DNS
 * rebinding), or with a header by which browsers mark a page's requests. Undefined if the request is admitted.
 */
export function refuseStranger(request: Request, port: number): Response | undefined {
  const host = request.headers.get("host")?.toLowerCase();
  const isMine = NAMES.some((name) => host === `${name}:${port}` || (port === 80 && host === name));
  if (!isMine) return refuse(403, "DENIED", "This proxy only serves localhost and 127.0.0.1.");
  const isPage = ["origin", "referer", "sec-fetch-site", "sec-fetch-mode"].some((name) =>
    request.headers.has(name),
  );
  if (isPage) return refuse(403, "DENIED", "This proxy does not serve web pages.");
  return undefined;
}
