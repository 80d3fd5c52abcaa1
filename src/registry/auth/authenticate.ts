import { PushError } from "../../errors.ts";
import type { Call } from "../../retry.ts";
import { secretsOfHeaders } from "../http/extra-headers.ts";
import { sendOnce } from "../http/send-once.ts";
import type { Registry } from "../registry.ts";
import type { Authenticator } from "./authenticator.ts";
import { type BearerChallenge, bearerChallenge } from "./challenge.ts";
import {
  basicAuthorization,
  type Credentials,
  formsOf,
  otherAlphabet,
  repeatsSecret,
  secretsOf,
} from "./credentials.ts";
import { isCovered } from "./scope.ts";
import { fetchToken } from "./token.ts";

/** A token is replaced so long before it expires, at most a quarter of its life: a request must not outlive it. */
const MARGIN_MS = 30_000;

type State = ReturnType<typeof stateOf>;

/** The state of one registry's authentication. */
function stateOf(registry: Omit<Registry, "auth">, credentials: Credentials | undefined, now: () => number) {
  return {
    registry,
    credentials,
    now,
    /** The Basic header. Undefined: the push is anonymous. */
    basic: basicAuthorization(credentials),
    secrets: new Set([...secretsOf(credentials), ...secretsOfHeaders(registry.headers, registry.origin)]),
    /** Tokens by their scopes. */
    tokens: new Map<string, { readonly authorization: string; readonly renewAtMs: number }>(),
    /** Token requests that are not answered yet. */
    underWay: new Map<string, { readonly authorization: Promise<string>; readonly signal: AbortSignal }>(),
    /** Set once the registry has asked for tokens. */
    challenge: undefined as BearerChallenge | undefined,
  };
}

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
  const state = stateOf(registry, credentials, now);
  return {
    isAnonymous: credentials === undefined,
    authorization: (scopes, call) => authorize(state, scopes, call),
    renew: (headers, refused, scopes, call) => renew(state, headers, refused, scopes, call),
    secrets: () => [...state.secrets],
  };
}

async function authorize(state: State, scopes: readonly string[], call: Call): Promise<string | undefined> {
  if (state.challenge === undefined) return state.basic;
  const token = state.tokens.get(scopes.join(" "));
  if (token !== undefined && state.now() < token.renewAtMs) return token.authorization;
  return newToken(state, state.challenge, scopes, [], call);
}

async function renew(
  state: State,
  headers: Headers,
  refused: string | undefined,
  scopes: readonly string[],
  call: Call,
): Promise<string | undefined> {
  const basic = otherBasic(state, headers, refused);
  if (basic !== undefined) return basic;
  const asked = bearerChallenge(headers) ?? (await hiddenChallenge(state, headers, refused, call));
  if (asked === undefined) return undefined;
  const { realm, service = "" } = asked;
  if (repeatsSecret([realm, service, ...asked.scopes].join(" "), [...state.secrets])) {
    throw new PushError(
      "TOKEN_FAILED",
      `${state.registry.origin} repeats the password or the token in the address of its token server.`,
    );
  }
  state.challenge = asked;
  // GHCR's greeting asks for the scope of an unrelated repository. Only what one of our tokens lacked is meant.
  const wanted = refused?.startsWith("Bearer ")
    ? asked.scopes.filter((scope) => !isCovered(scope, scopes))
    : [];
  const token = state.tokens.get(scopes.join(" "));
  // Another request got the same 401 before, and has replaced the token.
  const isReplaced = token !== undefined && token.authorization !== refused;
  if (wanted.length === 0 && isReplaced) return authorize(state, scopes, call);
  return newToken(state, asked, scopes, wanted, call);
}

/**
 * Returns Basic in the other alphabet, which then stays. serverless-registry decodes the URL-safe one alone, and refuses
 * the right password where its value has a "+" or a "/". Undefined where the alphabet makes no difference.
 */
function otherBasic(state: State, headers: Headers, refused: string | undefined): string | undefined {
  const { basic } = state;
  const isBasicAsked = /\bbasic\b/i.test(headers.get("www-authenticate") ?? "");
  if (basic === undefined || !isBasicAsked || bearerChallenge(headers) !== undefined) return undefined;
  const other = otherAlphabet(basic);
  // Another request was refused before, and has changed the alphabet.
  if (other === refused && basic !== refused) return basic;
  if (basic !== refused || other === basic) return undefined;
  state.basic = other;
  return other;
}

/**
 * Asks for a challenge without credentials. GHCR answers Basic with a bare 403, and names its token server only to
 * requests without it: https://github.com/renovatebot/renovate/issues/11446
 */
async function hiddenChallenge(
  { registry, basic }: State,
  headers: Headers,
  refused: string | undefined,
  call: Call,
): Promise<BearerChallenge | undefined> {
  if (refused === undefined || refused !== basic || headers.has("www-authenticate")) return undefined;
  const url = new URL(`${registry.origin}/v2/`);
  const { status, headers: said } = await sendOnce(registry, { method: "GET", url }, url, undefined, call);
  return status === 401 ? bearerChallenge(said) : undefined;
}

/** Gets a token, or shares the request of another caller for the same one. */
async function newToken(
  state: State,
  from: BearerChallenge,
  scopes: readonly string[],
  wanted: readonly string[],
  call: Call,
): Promise<string> {
  const { underWay } = state;
  const key = [...scopes, ...wanted].join(" ");
  const shared = underWay.get(key);
  if (shared === undefined) {
    const authorization = fetchNewToken(state, from, scopes, wanted, call).finally(() =>
      underWay.delete(key),
    );
    underWay.set(key, { authorization, signal: call.signal });
    return authorization;
  }
  try {
    return await shared.authorization;
  } catch (error) {
    // The request that asked for the token was aborted, this one was not.
    if (!shared.signal.aborted || call.signal.aborted) throw error;
    return newToken(state, from, scopes, wanted, call);
  }
}

/** @param wanted scopes that the registry asked for besides. This token has them, the next one does not. */
async function fetchNewToken(
  { registry, credentials, now, tokens, secrets }: State,
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
