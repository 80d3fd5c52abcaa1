import { PushError } from "../../errors.ts";
import type { Call } from "../../retry.ts";
import { drain } from "../http/body.ts";
import { sendOnce } from "../http/send-once.ts";
import type { Registry } from "../registry.ts";
import type { Authenticator } from "./authenticator.ts";
import { type BearerChallenge, bearerChallenge } from "./challenge.ts";
import { basicAuthorization, type Credentials, formsOf, secretsOf } from "./credentials.ts";
import { repeatsSecret } from "./repeated-secret.ts";
import { isCovered } from "./scope.ts";
import { fetchToken } from "./token.ts";

/** A token is replaced so long before it expires, at most a quarter of its life: a request must not outlive it. */
const MARGIN_MS = 30_000;

type CurrentToken = { readonly authorization: string; readonly renewAtMs: number };
type TokenRequest = { readonly authorization: Promise<string>; readonly signal: AbortSignal };

/**
 * Proves who pushes: by Basic, sent without being asked, until the registry asks for a token; from then on by tokens
 * of its token server. There is one token for each set of scopes, which is replaced before it expires. Requests that
 * need the same token at the same time share it.
 *
 * @param now milliseconds, for tests
 */
export function authenticate(
  registry: Omit<Registry, "auth">,
  credentials: Credentials | undefined,
  now: () => number = Date.now,
): Authenticator {
  const basic = basicAuthorization(credentials);
  const secrets = new Set(secretsOf(credentials));
  const underWay = new Map<string, TokenRequest>();
  const tokens = new Map<string, CurrentToken>();
  let challenge: BearerChallenge | undefined;

  /** @param wanted scopes that the registry asked for besides; this token has them, the next one does not */
  async function replaceToken(
    from: BearerChallenge,
    scopes: readonly string[],
    wanted: readonly string[],
    call: Call,
  ): Promise<string> {
    const askedAtMs = now();
    const all = [...new Set([...scopes, ...wanted])];
    const { value, lifetimeMs } = await fetchToken(registry, from, all, credentials, call);
    const authorization = `Bearer ${value}`;
    const renewAtMs = askedAtMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 4);
    tokens.set(scopes.join(" "), { authorization, renewAtMs });
    for (const form of formsOf(value)) secrets.add(form);
    return authorization;
  }

  async function newToken(
    from: BearerChallenge,
    scopes: readonly string[],
    wanted: readonly string[],
    call: Call,
  ): Promise<string> {
    const key = [...scopes, ...wanted].join(" ");
    const shared = underWay.get(key);
    if (shared === undefined) {
      const authorization = replaceToken(from, scopes, wanted, call).finally(() => underWay.delete(key));
      underWay.set(key, { authorization, signal: call.signal });
      return authorization;
    }
    try {
      return await shared.authorization;
    } catch (error) {
      // The request that asked for the token was aborted, this one was not.
      if (!shared.signal.aborted || call.signal.aborted) throw error;
      return newToken(from, scopes, wanted, call);
    }
  }

  /**
   * Asks for a challenge without credentials. GHCR answers Basic with a bare 403, and names its token server only to
   * requests without it: https://github.com/renovatebot/renovate/issues/11446
   */
  async function hiddenChallenge(headers: Headers, refused: string | undefined, call: Call) {
    if (refused === undefined || refused !== basic || headers.has("www-authenticate")) return undefined;
    const url = new URL(`${registry.origin}/v2/`);
    const response = await sendOnce(registry, { method: "GET", url }, url, undefined, call);
    await drain(response);
    return response.status === 401 ? bearerChallenge(response.headers) : undefined;
  }

  async function authorization(scopes: readonly string[], call: Call): Promise<string | undefined> {
    if (challenge === undefined) return basic;
    const token = tokens.get(scopes.join(" "));
    if (token !== undefined && now() < token.renewAtMs) return token.authorization;
    return newToken(challenge, scopes, [], call);
  }

  return {
    isAnonymous: credentials === undefined,
    authorization,
    async renew(headers, refused, scopes, call) {
      const asked = bearerChallenge(headers) ?? (await hiddenChallenge(headers, refused, call));
      if (asked === undefined) return undefined;
      const { realm, service = "" } = asked;
      if (repeatsSecret([realm, service, ...asked.scopes].join(" "), [...secrets])) {
        throw new PushError(
          "TOKEN_FAILED",
          `${registry.origin} repeats the password or the token in the address of its token server.`,
        );
      }
      challenge = asked;
      // GHCR's greeting asks for the scope of an unrelated repository. Only what one of our tokens lacked is meant.
      const wanted = refused?.startsWith("Bearer ")
        ? asked.scopes.filter((scope) => !isCovered(scope, scopes))
        : [];
      const token = tokens.get(scopes.join(" "));
      // Another request got the same 401 before, and has replaced the token.
      const isReplaced = token !== undefined && token.authorization !== refused;
      if (wanted.length === 0 && isReplaced) return authorization(scopes, call);
      return newToken(asked, scopes, wanted, call);
    },
    secrets: () => [...secrets],
  };
}
