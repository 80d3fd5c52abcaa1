import * as v from "valibot";
import { PushError, RegistryError } from "../../errors.ts";
import { isLoopback } from "../../oci/address.ts";
import { object } from "../../oci/json-schema.ts";
import type { Call } from "../../retry.ts";
import { type Answer, describe, type RegistryRequest, sendOnce } from "../http/send-once.ts";
import { printable, quoteErrors, readSpecErrors } from "../http/spec-errors.ts";
import { isTransient } from "../http/transient.ts";
import type { Registry } from "../registry.ts";
import type { BearerChallenge } from "./challenge.ts";
import { basicAuthorization, type Credentials } from "./credentials.ts";
import { explainLoginRequired, explainRefusedCredentials } from "./explain-refusal.ts";
import { repositoryOf } from "./scope.ts";

/** The token specification's default. */
const DEFAULT_LIFETIME_SECONDS = 60;

const TEXT = v.pipe(v.string(), v.regex(/^[\x21-\x7e]+$/));
const LIFETIME = v.pipe(v.unknown(), v.toNumber(), v.finite(), v.gtValue(0));
const TOKEN = object({
  token: v.fallback(v.optional(TEXT), undefined),
  /** OAuth's name for `token`. */
  access_token: v.fallback(v.optional(TEXT), undefined),
  expires_in: v.fallback(LIFETIME, DEFAULT_LIFETIME_SECONDS),
  issued_at: v.fallback(v.optional(v.string()), undefined),
});
const ANSWER = v.pipe(v.string(), v.parseJson(), TOKEN);

/** A bearer token, and its lifetime from the time of the request. */
export type Token = { readonly value: string; readonly lifetimeMs: number };

/**
 * Gets a token from the token server that the registry named, in one try: the request that needs the token is retried, and
 * a fault of the token server then counts as the registry's.
 *
 * The realm may be at any host, and gets the credentials because the registry named it. Redirects are not followed, so no
 * other host gets them. Throws `TOKEN_FAILED`, `UNAUTHORIZED`, `DENIED`, and the errors of connections.
 *
 * https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/
 *
 * @param secrets masked in messages that quote the server
 */
export async function fetchToken(
  registry: Omit<Registry, "auth">,
  { realm, service }: BearerChallenge,
  scopes: readonly string[],
  credentials: Credentials | undefined,
  secrets: readonly string[],
  call: Call,
): Promise<Token> {
  const request = tokenRequest(realmUrl(realm, registry.origin), service, scopes, credentials);
  const answer = await sendOnce(registry, request, request.url, basicAuthorization(credentials), call);
  if (answer.status !== 200) throw refusal(registry, request, answer, scopes, credentials, secrets);
  return readToken(answer);
}

/** Creates a GET, with Basic or anonymous. For an identity token, creates a POST: it is a refresh token of OAuth. */
function tokenRequest(
  url: URL,
  service: string | undefined,
  scopes: readonly string[],
  credentials: Credentials | undefined,
): RegistryRequest {
  if (credentials === undefined || !("identityToken" in credentials)) {
    if (service !== undefined) url.searchParams.append("service", service);
    for (const scope of scopes) url.searchParams.append("scope", scope);
    return { method: "GET", url };
  }
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    ...(service !== undefined && { service }),
    scope: scopes.join(" "),
    client_id: "chunkpush",
    refresh_token: credentials.identityToken,
  });
  return {
    method: "POST",
    url,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new Blob([form.toString()]),
  };
}

function realmUrl(realm: string, origin: string): URL {
  const url = URL.parse(realm);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
    throw new PushError(
      "TOKEN_FAILED",
      `${origin} requires a token, but does not give the address of a token server.`,
    );
  }
  // Requests to a registry on this machine cross no network, even in plain HTTP.
  const mayBePlain = origin.startsWith("http:") && (isLoopback(url) || !isLoopback(new URL(origin)));
  if (url.protocol === "http:" && !mayBePlain) {
    throw new PushError(
      "TOKEN_FAILED",
      `${origin} requires a token from ${url.origin}, which uses plain HTTP: the password could be intercepted.`,
      { hint: "The realm in the registry's configuration must be an https:// address." },
    );
  }
  return url;
}

function readToken({ text, headers, url }: Answer): Token {
  const answer = v.safeParse(ANSWER, text);
  const value = answer.success ? (answer.output.token ?? answer.output.access_token) : undefined;
  if (!answer.success || value === undefined) {
    throw new PushError(
      "TOKEN_FAILED",
      `The token server ${url.origin}${url.pathname} answered 200, but issued no token.`,
      { hint: "Ask the registry's operator whether this is the address of its token server." },
    );
  }
  // A token may come from a cache. Compute its age from the server's clock, which may differ from ours.
  const ageMs = Date.parse(headers.get("date") ?? "") - Date.parse(answer.output.issued_at ?? "");
  return { value, lifetimeMs: answer.output.expires_in * 1000 - (ageMs > 0 ? ageMs : 0) };
}

/** Creates the error for a refusal. A transient one is a `RegistryError`, so that it is retried. */
function refusal(
  registry: Omit<Registry, "auth">,
  request: RegistryRequest,
  { status, headers, text }: Answer,
  [scope = ""]: readonly string[],
  credentials: Credentials | undefined,
  secrets: readonly string[],
): PushError {
  const server = `The token server of ${registry.origin}`;
  const said = quoteErrors(readSpecErrors(text), secrets);
  const answered = `${printable(describe(request), secrets)} answered ${status}${said}.`;
  const passing = new RegistryError("TOKEN_FAILED", `${server} issued no token. ${answered}`, {
    status,
    specCodes: [],
    namedDigests: [],
    headers,
    url: request.url.href,
  });
  if (isTransient(passing)) return passing;
  const isIdentity = credentials !== undefined && "identityToken" in credentials;
  if (status === 401 || (status === 400 && isIdentity)) {
    const { reason, hint } =
      credentials === undefined
        ? explainLoginRequired(registry.origin)
        : explainRefusedCredentials(registry.origin, credentials);
    return new PushError("UNAUTHORIZED", `The token server of ${reason} ${answered}`, { hint });
  }
  if (status === 403) {
    return new PushError(
      "DENIED",
      `${server} refuses to let this user push to "${repositoryOf(scope)}". ${answered}`,
      { hint: "Check the user's rights and the name of the repository." },
    );
  }
  return new PushError("TOKEN_FAILED", `${server} issued no token. ${answered}`);
}
