import { registryError } from "./answers.ts";
import type { Route } from "./route.ts";

type Wanted = { type: string; name: string; actions: string[] };

/** Where tokens are to be had, and who knows which are good. */
export type TokenAuthority = {
  realm: string;
  service: string;
  allows(authorization: string | null, wanted?: Wanted): boolean;
  /** Gives one to whoever runs the registry, without being asked who that is. */
  issue(scopes: readonly string[]): string;
};

/** What distribution asks of a token for each method. */
const ACTIONS: Readonly<Record<string, string[]>> = {
  GET: ["pull"],
  HEAD: ["pull"],
  POST: ["pull", "push"],
  PATCH: ["pull", "push"],
  PUT: ["pull", "push"],
  DELETE: ["delete"],
};

/** Asked of every request; at the greeting, any good token will do. */
export function refuseWithoutToken(
  request: Request,
  { kind, repository }: Route,
  tokens: TokenAuthority | undefined,
): Response | undefined {
  const actions = ACTIONS[request.method];
  if (tokens === undefined || actions === undefined) return undefined;
  const wanted = kind === "ping" ? undefined : { type: "repository", name: repository, actions };
  const authorization = request.headers.get("authorization");
  if (tokens.allows(authorization, wanted)) return undefined;
  const refusal = registryError(401, "UNAUTHORIZED", "authentication required");
  const challenge = [`realm="${tokens.realm}"`, `service="${tokens.service}"`];
  if (wanted !== undefined) challenge.push(`scope="repository:${repository}:${actions.join(",")}"`);
  if (authorization?.startsWith("Bearer ")) challenge.push('error="invalid_token"');
  refusal.headers.set("WWW-Authenticate", `Bearer ${challenge.join(",")}`);
  return refusal;
}
