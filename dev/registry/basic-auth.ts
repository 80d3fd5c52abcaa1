import { registryError } from "./answers.ts";

export type Credentials = { username: string; password: string };

/** Asked of every request, `/v2/` included: there are no tokens, and nothing is public. */
export function refuseStranger(request: Request, credentials: Credentials | undefined): Response | undefined {
  if (credentials === undefined || isOwner(request, credentials)) return undefined;
  const refusal = registryError(401, "UNAUTHORIZED", "authentication required");
  // The realm is the URL asked for, query and all.
  refusal.headers.set("WWW-Authenticate", `Basic realm="${request.url}"`);
  return refusal;
}

function isOwner(request: Request, { username, password }: Credentials): boolean {
  const [scheme, encoded] = request.headers.get("authorization")?.split(" ") ?? [];
  if (scheme !== "Basic" || encoded === undefined) return false;
  return Buffer.from(encoded, "base64").toString("utf8") === `${username}:${password}`;
}
