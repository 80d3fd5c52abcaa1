import { PushError } from "../../errors.ts";
import type { Call } from "../../retry.ts";
import { secretsOfHeaders } from "../http/extra-headers.ts";
import { sendOnce } from "../http/send-once.ts";
import type { Registry } from "../registry.ts";
import type { Authenticator, Refusal } from "./authenticator.ts";
import { type BearerChallenge, bearerChallenge } from "./challenge.ts";
import {
  basicAuthorization,
  type Credentials,
  formsOf,
  otherAlphabet,
  type RenewCredentials,
  repeatsSecret,
  secretsOf,
} from "./credentials.ts";
import { isCovered } from "./scope.ts";
import { type Shared, share } from "./share.ts";
import { fetchToken } from "./token.ts";

/** A token is replaced this long before it expires, or after three quarters of a short life: it must outlive a request. */
const MARGIN_MS = 30_000;

type State = ReturnType<typeof stateOf>;

/** The state of one registry's authentication. */
function stateOf(
  registry: Omit<Registry, "auth">,
  credentials: Credentials | undefined,
  renewCredentials: RenewCredentials | undefined,
  now: () => number,
) {
  return {
    registry,
    credentials,
    renewCredentials,
    now,
    /** Whether the registry has accepted these credentials. Only then can a refusal mean that they have expired. */
    haveWorked: false,
    renewals: new Map<"credentials", Shared<void>>(),
    /** The Basic header. Undefined without a password. */
    basic: basicAuthorization(credentials),
    secrets: new Set([...secretsOf(credentials), ...secretsOfHeaders(registry.headers, registry.origin)]),
    /** The tokens by their scopes. */
    tokens: new Map<string, { readonly authorization: string; readonly renewAtMs: number }>(),
    /** The token requests that are not answered yet. */
    underWay: new Map<string, Shared<string>>(),
    /** The registry's latest challenge. Undefined until it asks for tokens. */
    challenge: undefined as BearerChallenge | undefined,
  };
}

/**
 * Creates an authenticator. It sends Basic preemptively until the registry asks for a token, and from then on tokens of the
 * token server. There is one token for each set of scopes, which is replaced before it expires. Concurrent requests share
 * its renewal.
 *
 * Credentials that are refused after they were accepted have expired, and are renewed. A refusal of the new ones is final
 * unless they were accepted before.
 *
 * @param now the clock in milliseconds, for tests
 */
export function authenticate(
  registry: Omit<Registry, "auth">,
  credentials: Credentials | undefined,
  renewCredentials?: RenewCredentials,
  now: () => number = Date.now,
): Authenticator {
  const state = stateOf(registry, credentials, renewCredentials, now);
  return {
    credentials: () => state.credentials,
    authorization: (scopes, call) => authorize(state, scopes, call),
    accepted: (authorization) => {
      if (authorization !== undefined && authorization === state.basic) state.haveWorked = true;
    },
    renew: (refusal, refused, scopes, call) => renew(state, refusal, refused, scopes, call),
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
  refusal: Refusal,
  refused: string | undefined,
  scopes: readonly string[],
  call: Call,
): Promise<string | undefined> {
  const { headers } = refusal;
  const basic = otherBasic(state, headers, refused);
  if (basic !== undefined) return basic;
  const asked = bearerChallenge(headers) ?? (await hiddenChallenge(state, headers, refused, call));
  if (asked === undefined) return newBasic(state, refusal, refused, call);
  const { realm, service = "" } = asked;
  if (repeatsSecret([realm, service, ...asked.scopes].join(" "), [...state.secrets])) {
    throw new PushError(
      "TOKEN_FAILED",
      `${state.registry.origin} repeats the password or the token in the address of its token server, where others could see it.`,
    );
  }
  state.challenge = asked;
  // GHCR's greeting asks for the scope of an unrelated repository. Add only scopes that a token of ours lacked.
  const wanted = refused?.startsWith("Bearer ")
    ? asked.scopes.filter((scope) => !isCovered(scope, scopes))
    : [];
  const token = state.tokens.get(scopes.join(" "));
  // Another request got the same 401, and has replaced the token.
  const isReplaced = token !== undefined && token.authorization !== refused;
  if (wanted.length === 0 && isReplaced) return authorize(state, scopes, call);
  return newToken(state, asked, scopes, wanted, call);
}

/**
 * Returns Basic in the other alphabet, and keeps it. serverless-registry decodes only the URL-safe alphabet, and refuses a
 * right password whose value has a "+" or a "/". Undefined if the alphabet makes no difference.
 */
function otherBasic(state: State, headers: Headers, refused: string | undefined): string | undefined {
  const { basic } = state;
  const isBasicAsked = /\bbasic\b/i.test(headers.get("www-authenticate") ?? "");
  if (basic === undefined || !isBasicAsked || bearerChallenge(headers) !== undefined) return undefined;
  // Accepted credentials were refused later: the alphabet is right.
  if (state.haveWorked && state.renewCredentials !== undefined) return undefined;
  const other = otherAlphabet(basic);
  // Another request was refused, and has changed the alphabet.
  if (other === refused && basic !== refused) return basic;
  if (basic !== refused || other === basic) return undefined;
  state.basic = other;
  return other;
}

/**
 * Asks for a challenge without credentials. GHCR answers Basic with a bare 403, and sends its challenge only to requests
 * without credentials: https://github.com/renovatebot/renovate/issues/11446
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

/** Returns Basic with new credentials if the refused ones have expired. */
async function newBasic(
  state: State,
  { status, text }: Refusal,
  refused: string | undefined,
  call: Call,
): Promise<string | undefined> {
  // ECR answers 403 to an expired password, with this word in the message.
  const isEnded = status === 401 || /\bexpired\b/i.test(text);
  if (!isEnded || !refused?.startsWith("Basic ")) return undefined;
  // Another request was refused, and has renewed the credentials.
  if (refused !== state.basic)
    return state.secrets.has(refused.slice("Basic ".length)) ? state.basic : undefined;
  return (await haveOthers(state, state.credentials, call)) ? state.basic : undefined;
}

/** Renews refused credentials if they have expired. @returns whether there are other credentials */
async function haveOthers(state: State, refused: Credentials | undefined, call: Call): Promise<boolean> {
  // Another request was refused, and has renewed them.
  if (state.credentials !== refused) return true;
  const { renewals, renewCredentials } = state;
  if (renewCredentials === undefined || !state.haveWorked) return false;
  await share(renewals, "credentials", () => replaceCredentials(state, renewCredentials, call.signal), call);
  return state.credentials !== refused;
}

async function replaceCredentials(state: State, ask: RenewCredentials, signal: AbortSignal): Promise<void> {
  const renewed = await ask(signal);
  state.haveWorked = false;
  if (renewed === undefined || Bun.deepEquals(renewed, state.credentials)) return;
  const basic = basicAuthorization(renewed);
  const isOtherAlphabet = state.basic !== basicAuthorization(state.credentials);
  state.basic = isOtherAlphabet && basic !== undefined ? otherAlphabet(basic) : basic;
  state.credentials = renewed;
  for (const secret of secretsOf(renewed)) state.secrets.add(secret);
}

/**
 * Gets a token, or shares the token request of another caller.
 *
 * @param wanted additional scopes that the registry asked for. Only this token has them
 */
function newToken(
  state: State,
  from: BearerChallenge,
  scopes: readonly string[],
  wanted: readonly string[],
  call: Call,
): Promise<string> {
  const all = [...new Set([...scopes, ...wanted])];
  const begin = async () => {
    const { value, renewAtMs } = await fetchNewToken(state, from, all, call);
    const authorization = `Bearer ${value}`;
    state.tokens.set(scopes.join(" "), { authorization, renewAtMs });
    for (const form of formsOf(value)) state.secrets.add(form);
    return authorization;
  };
  return share(state.underWay, [...scopes, ...wanted].join(" "), begin, call);
}

/** Gets a token with the credentials, or with renewed ones if they have expired. */
async function fetchNewToken(state: State, from: BearerChallenge, scopes: readonly string[], call: Call) {
  for (let isAgain = false; ; isAgain = true) {
    const { credentials } = state;
    const askedAtMs = state.now();
    try {
      const { value, lifetimeMs } = await fetchToken(
        state.registry,
        from,
        scopes,
        credentials,
        [...state.secrets],
        call,
      );
      if (credentials === state.credentials) state.haveWorked = true;
      return { value, renewAtMs: askedAtMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs / 4) };
    } catch (error) {
      const isRefusal = error instanceof PushError && error.code === "UNAUTHORIZED";
      if (isAgain || !isRefusal || !(await haveOthers(state, credentials, call))) throw error;
    }
  }
}
