import { PushError } from "../../errors.ts";
import { sendOnce } from "../http/send.ts";
import type { Registry } from "../registry.ts";
import type { Authenticator } from "./authenticator.ts";
import { type BearerChallenge, bearerChallenge } from "./challenge.ts";
import { basicAuthorization, type Credentials, formsOf, secretsOf } from "./credentials.ts";
import { repeatsSecret } from "./repeated-secret.ts";
import { fetchToken } from "./token.ts";

/** How long before its end a token is replaced: a request should not outlive it. At most a quarter of its life. */
const MARGIN_MS = 30_000;

type CurrentToken = { readonly authorization: string; readonly renewAtMs: number };

/**
 * Proves who pushes: by Basic, sent without being asked, until the registry asks for a token; from then on by tokens
 * of its token server, each replaced before it ends. Whoever needs a token while one is under way shares it.
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
  const ownScopes = [`repository:${registry.repository}:pull,push`];
  const underWay = new Map<string, Promise<string>>();
  let challenge: BearerChallenge | undefined;
  /** By what was asked for beyond the own repository. */
  const tokens = new Map<string, CurrentToken>();

  async function replaceToken(
    from: BearerChallenge,
    extra: readonly string[],
    wanted: readonly string[],
  ): Promise<string> {
    const askedAtMs = now();
    const scopes = [...new Set([...ownScopes, ...extra, ...wanted])];
    const { value, lifetimeMs } = await fetchToken(registry, from, scopes, credentials);
    const authorization = `Bearer ${value}`;
    const renewAtMs = askedAtMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 4);
    tokens.set(extra.join(" "), { authorization, renewAtMs });
    for (const form of formsOf(value)) secrets.add(form);
    return authorization;
  }

  function newToken(
    from: BearerChallenge,
    extra: readonly string[],
    wanted: readonly string[] = [],
  ): Promise<string> {
    const key = `${extra.join(" ")} ${wanted.join(" ")}`;
    const begun = underWay.get(key) ?? replaceToken(from, extra, wanted).finally(() => underWay.delete(key));
    underWay.set(key, begun);
    return begun;
  }

  /**
   * GHCR answers Basic with a 403 that says nothing, and names its token server to those only who come without:
   * https://github.com/renovatebot/renovate/issues/11446
   */
  async function hiddenChallenge(headers: Headers, refused: string | undefined) {
    if (refused === undefined || refused !== basic || headers.has("www-authenticate")) return undefined;
    const url = new URL(`${registry.origin}/v2/`);
    const response = await sendOnce(registry, { method: "GET", url }, url, undefined);
    return response.status === 401 ? bearerChallenge(response.headers) : undefined;
  }

  async function authorization(extra: readonly string[] = []): Promise<string | undefined> {
    if (challenge === undefined) return basic;
    const token = tokens.get(extra.join(" "));
    return token !== undefined && now() < token.renewAtMs ? token.authorization : newToken(challenge, extra);
  }

  return {
    isAnonymous: credentials === undefined,
    authorization,
    async renew(headers, refused, extra = []) {
      const asked = bearerChallenge(headers) ?? (await hiddenChallenge(headers, refused));
      if (asked === undefined) return undefined;
      const { realm, service = "", scopes } = asked;
      if (repeatsSecret([realm, service, ...scopes].join(" "), [...secrets])) {
        throw new PushError(
          "TOKEN_FAILED",
          `${registry.origin} repeats the password or the token in the address of its token server.`,
        );
      }
      challenge = asked;
      // At the greeting, GHCR asks for a scope of no repository at all. What a token of ours was refused for is meant.
      const wanted = refused?.startsWith("Bearer ")
        ? asked.scopes.filter((scope) => !isCovered(scope, [...ownScopes, ...extra]))
        : [];
      const token = tokens.get(extra.join(" "));
      // Another request has met the same 401 before.
      if (wanted.length === 0 && token !== undefined && token.authorization !== refused)
        return authorization(extra);
      return newToken(asked, extra, wanted);
    },
    secrets: () => [...secrets],
  };
}

/** Whether one of the scopes is for the same thing, and allows all that is wanted of it. */
function isCovered(wanted: string, scopes: readonly string[]): boolean {
  const { resource, actions } = parseScope(wanted);
  return scopes.map(parseScope).some((has) => has.resource === resource && actions.isSubsetOf(has.actions));
}

/** `repository:localhost:5000/app:pull,push`: a name may have colons, actions have none. */
function parseScope(scope: string): { resource: string; actions: Set<string> } {
  const colon = scope.lastIndexOf(":");
  return { resource: scope.slice(0, colon), actions: new Set(scope.slice(colon + 1).split(",")) };
}
