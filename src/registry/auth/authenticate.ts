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
import { tokenCache } from "./token-cache.ts";

/**
 * Proves who pushes: by Basic, sent without being asked, until the registry asks for a token; from then on by tokens
 * of its token server, one for each set of scopes.
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
  const remember = (token: string) => {
    for (const form of formsOf(token)) secrets.add(form);
  };
  const tokens = tokenCache(registry, credentials, remember, now);
  let challenge: BearerChallenge | undefined;

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

  return {
    isAnonymous: credentials === undefined,
    async authorization(scopes, call) {
      if (challenge === undefined) return basic;
      return tokens.find(scopes) ?? tokens.replace(challenge, scopes, [], call);
    },
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
      const current = tokens.find(scopes);
      // Another request got the same 401 before, and has replaced the token.
      if (wanted.length === 0 && current !== undefined && current !== refused) return current;
      return tokens.replace(asked, scopes, wanted, call);
    },
    secrets: () => [...secrets],
  };
}
