import type { Call } from "../../retry.ts";
import type { Registry } from "../registry.ts";
import type { BearerChallenge } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import { fetchToken } from "./token.ts";

/** A token is replaced so long before it expires, at most a quarter of its life: a request must not outlive it. */
const MARGIN_MS = 30_000;

/** Keeps one token for each set of scopes. */
export type TokenCache = {
  /** Returns the `Authorization` header with a token that is valid for a while. */
  find(scopes: readonly string[]): string | undefined;
  /**
   * Replaces a token, and returns its header. Requests that need the same token at the same time share it.
   *
   * @param wanted further scopes, which this token gets and its successor does not
   */
  replace(
    from: BearerChallenge,
    scopes: readonly string[],
    wanted: readonly string[],
    call: Call,
  ): Promise<string>;
};

type CurrentToken = { readonly authorization: string; readonly renewAtMs: number };
type TokenRequest = { readonly authorization: Promise<string>; readonly signal: AbortSignal };

/**
 * @param onToken called with every new token
 * @param now milliseconds, for tests
 */
export function tokenCache(
  registry: Omit<Registry, "auth">,
  credentials: Credentials | undefined,
  onToken: (token: string) => void,
  now: () => number,
): TokenCache {
  const underWay = new Map<string, TokenRequest>();
  const tokens = new Map<string, CurrentToken>();

  async function fetchNew(
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
    onToken(value);
    return authorization;
  }

  return {
    find(scopes) {
      const token = tokens.get(scopes.join(" "));
      return token !== undefined && now() < token.renewAtMs ? token.authorization : undefined;
    },
    async replace(from, scopes, wanted, call) {
      const key = `${scopes.join(" ")} ${wanted.join(" ")}`;
      for (;;) {
        const shared = underWay.get(key);
        if (shared === undefined) {
          const authorization = fetchNew(from, scopes, wanted, call).finally(() => underWay.delete(key));
          underWay.set(key, { authorization, signal: call.signal });
          return authorization;
        }
        try {
          return await shared.authorization;
        } catch (error) {
          // Ask again if the request that asked for the token was aborted, and this one was not.
          if (!shared.signal.aborted || call.signal.aborted) throw error;
        }
      }
    },
  };
}
