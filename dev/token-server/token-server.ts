import { type Access, type SigningKey, signedToken } from "./signed-token.ts";
import { readTokenRequest, type TokenRequest } from "./token-request.ts";

export type TokenServerOptions = {
  /** Without them everybody gets a token. */
  credentials?: { username: string; password: string };
  /** What docker login gets to keep in place of the password: taken by POST alone. */
  identityToken?: string;
  /** How long a token is good. @default 300 */
  lifetimeSeconds?: number;
  /** What `expires_in` says, where that is not the truth. 0: nothing is said. @default lifetimeSeconds */
  announcedSeconds?: number;
  /** The rights of the user, of those that are asked for. @default all */
  grant?: (access: Access) => string[];
  /** For registries that check signatures. */
  signing?: SigningKey;
  /** An answer in place of its own. `undefined` lets the request pass. */
  intercept?: (asked: TokenRequest) => Response | undefined | Promise<Response | undefined>;
};

export type TokenServer = AsyncDisposable & {
  /** The realm: `http://127.0.0.1:<port>/token` */
  realm: string;
  service: string;
  issuer: string;
  /** Every request for a token, in the order in which they came. */
  requests: TokenRequest[];
  /** Every token that was given away. */
  tokens: string[];
  /** Gives a token for all that is asked, without asking who wants it. */
  issue(scopes: readonly string[]): string;
  /** Ends all tokens, whatever was said about their lifetime. */
  revokeAll(): void;
  /** Whether a header carries a token that is still good, and allows this. */
  allows(authorization: string | null, wanted?: Access): boolean;
};

type IssuedToken = { access: Access[]; expiresAtMs: number };

const SERVICE = "registry of the tests";
const ISSUER = "token server of the tests";

/**
 * A token server as registries have one: GET with Basic, and POST as OAuth 2 has it.
 *
 * https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/
 */
export function startTokenServer(options: TokenServerOptions = {}): TokenServer {
  const { lifetimeSeconds = 300, announcedSeconds = lifetimeSeconds } = options;
  const issued = new Map<string, IssuedToken>();
  const requests: TokenRequest[] = [];
  const tokens: string[] = [];

  function issueAccess(access: Access[]): string {
    const issuedAtMs = Date.now();
    const expiresAtMs = issuedAtMs + lifetimeSeconds * 1000;
    const claims = { issuer: ISSUER, service: SERVICE, subject: "somebody", issuedAtMs, expiresAtMs, access };
    const token = signedToken(claims, options.signing);
    issued.set(token, { access, expiresAtMs });
    tokens.push(token);
    return token;
  }

  async function answer(request: Request): Promise<Response> {
    const asked = await readTokenRequest(request);
    requests.push(asked);
    const intercepted = await options.intercept?.(asked);
    if (intercepted !== undefined) return intercepted;
    if (asked.path !== "/token") return new Response("Not Found", { status: 404 });
    const refusal = refuse(asked, options);
    if (refusal !== undefined) return refusal;
    const wanted = asked.scopes.map(parseScope);
    const { grant } = options;
    const token = issueAccess(grant ? wanted.map((each) => ({ ...each, actions: grant(each) })) : wanted);
    return Response.json({
      // The two ways differ in the name that they have for it.
      ...(asked.method === "POST" ? { access_token: token } : { token }),
      ...(asked.wantsIdentityToken && { refresh_token: options.identityToken }),
      ...(announcedSeconds > 0 && { expires_in: announcedSeconds }),
      issued_at: new Date().toISOString(),
    });
  }

  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, development: false, fetch: answer });
  return {
    realm: `http://127.0.0.1:${server.port}/token`,
    service: SERVICE,
    issuer: ISSUER,
    requests,
    tokens,
    issue: (scopes) => issueAccess(scopes.map(parseScope)),
    revokeAll: () => issued.clear(),
    allows(authorization, wanted) {
      const token = issued.get(authorization?.replace(/^Bearer /, "") ?? "");
      if (token === undefined || token.expiresAtMs <= Date.now()) return false;
      return wanted === undefined || token.access.some((has) => covers(has, wanted));
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

function refuse(
  asked: TokenRequest,
  { credentials, identityToken }: TokenServerOptions,
): Response | undefined {
  if (asked.service !== SERVICE) return new Response("another service", { status: 400 });
  if (asked.method === "POST") {
    return asked.form["grant_type"] === "refresh_token" && asked.form["refresh_token"] === identityToken
      ? undefined
      : Response.json({ error: "invalid_grant" }, { status: 400 });
  }
  const isKnown =
    credentials === undefined || asked.basic === `${credentials.username}:${credentials.password}`;
  return isKnown ? undefined : Response.json({ details: "incorrect username or password" }, { status: 401 });
}

function covers(has: Access, wanted: Access): boolean {
  return (
    has.type === wanted.type &&
    has.name === wanted.name &&
    wanted.actions.every((action) => has.actions.includes(action))
  );
}

function parseScope(scope: string): Access {
  const [type = "", ...rest] = scope.split(":");
  const actions = rest.pop() ?? "";
  return { type, name: rest.join(":"), actions: actions.split(",") };
}
