import { refuse } from "./answers.ts";

/** Names of this machine that only this machine, or a container on it, can mean. */
const NAMES = ["localhost", "127.0.0.1", "host.docker.internal", "host.containers.internal"];

/**
 * Refuses requests that a web page may have sent: those with another name for this machine, which a page can give to it
 * (DNS rebinding), and those that a browser marks as a page's. Undefined: the request is admitted.
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
