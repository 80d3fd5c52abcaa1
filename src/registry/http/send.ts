import { PushError } from "../../errors.ts";
import { type Call, retry } from "../../retry.ts";
import { repeatsSecret } from "../auth/credentials.ts";
import { pushScope } from "../auth/scope.ts";
import type { Registry, Repository } from "../registry.ts";
import { expectStatus } from "./expect-status.ts";
import {
  type Answer,
  describe,
  openResponse,
  type RegistryRequest,
  type RegistryResponse,
  readAnswer,
} from "./send-once.ts";
import { isTransient, retryAfterMs } from "./transient.ts";

const MAX_REDIRECTS = 5;

/**
 * Sends a request, and follows redirects. Repeats it once after a 401 or 403 if there are newer credentials. Returns the last
 * answer of any status. Throws a `PushError` without an answer.
 */
export async function send(at: Repository, request: RegistryRequest, call: Call): Promise<Answer> {
  return readAnswer(at.registry, await open(at, request, call), request.mostBytes);
}

/** Does the same, but leaves the body unread. */
export async function open(at: Repository, request: RegistryRequest, call: Call): Promise<RegistryResponse> {
  return followRedirects(at.registry, request, (url) => openAuthorized(at, request, url, call));
}

/**
 * Follows the redirects of a request. Throws `REDIRECT_REFUSED` for too many, and for addresses that must not be asked.
 *
 * @param openAt sends the request to one address
 */
export async function followRedirects(
  registry: Registry,
  request: RegistryRequest,
  openAt: (url: URL) => Promise<RegistryResponse>,
): Promise<RegistryResponse> {
  let url = request.url;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await openAt(url);
    const location = response.headers.get("location");
    if (location !== null && repeatsSecret(location, registry.auth.secrets())) {
      throw new PushError(
        "REDIRECT_REFUSED",
        `${url.origin} sent a Location that repeats the password or the token.`,
      );
    }
    if (!isRedirect(response.status, request) || location === null) return response;
    await readAnswer(registry, response);
    url = resolveLocation(location, url);
  }
  throw new PushError(
    "REDIRECT_REFUSED",
    `${describe(request)} was redirected more than ${MAX_REDIRECTS} times.`,
  );
}

/** Sends a request. Throws a `RegistryError` unless the answer has one of the wanted statuses. */
export async function exchange(
  at: Repository,
  request: RegistryRequest,
  wanted: readonly number[],
  call: Call,
): Promise<Answer> {
  const answer = await send(at, request, call);
  expectStatus(at, request, answer, wanted);
  return answer;
}

/** Sends a small request with retries until it is answered or refused. */
export async function exchangePersistently(
  at: Repository,
  request: RegistryRequest,
  wanted: readonly number[],
  call: Call,
  isRetryable = isTransient,
): Promise<Answer> {
  const attempt = () => exchange(at, request, wanted, call);
  return retry(at.registry.retries, isRetryable, retryAfterMs, attempt, call);
}

/** Tells whether to follow a redirect. Only 307 and 308 keep method and body, so a write follows no other. */
function isRedirect(status: number, { method }: RegistryRequest): boolean {
  const isRead = method === "GET" || method === "HEAD";
  return status === 307 || status === 308 || (isRead && [301, 302, 303].includes(status));
}

/** Resolves a `Location`, which may be relative or on another host. Throws `REDIRECT_REFUSED` from https to http. */
export function resolveLocation(location: string, base: URL): URL {
  const url = URL.parse(location, base.href);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new PushError("REDIRECT_REFUSED", `${base.origin} sent a Location that is not an address.`);
  }
  if (base.protocol === "https:" && url.protocol === "http:") {
    throw new PushError(
      "REDIRECT_REFUSED",
      `${base.origin} redirects from HTTPS to ${url.origin}, where traffic can be intercepted.`,
      {
        hint: "If a TLS proxy is in front of the registry, let it send X-Forwarded-Proto: https.",
      },
    );
  }
  return url;
}

async function openAuthorized(
  { registry, name }: Repository,
  request: RegistryRequest,
  url: URL,
  call: Call,
): Promise<RegistryResponse> {
  // Storage behind a registry must not get the registry's credentials.
  if (url.origin !== registry.origin) return openResponse(registry, request, url, undefined, call);
  const scopes = request.scopes ?? [pushScope(name)];
  const authorization = await registry.auth.authorization(scopes, call);
  const response = await openResponse(registry, request, url, authorization, call);
  if (response.status < 400) registry.auth.accepted(authorization);
  if (response.status !== 401 && response.status !== 403) return response;
  const refusal = await readAnswer(registry, response);
  const renewed = await registry.auth.renew(refusal, authorization, scopes, call);
  if (renewed !== undefined) {
    const again = await openResponse(registry, request, url, renewed, call);
    if (again.status < 400) registry.auth.accepted(renewed);
    return again;
  }
  return { ...response, body: new Blob([refusal.bytes]).stream() };
}
