// Bun answers this import with its own fetch, whose types say more than those of the package: they know TLS options
// and web streams.
import nodeFetch from "node-fetch";
import { PushError } from "../../errors.ts";
import { retry } from "../../retry.ts";
import { repeatsSecret } from "../auth/repeated-secret.ts";
import type { Registry } from "../registry.ts";
import { connectionError } from "./connection-error.ts";
import { fileBody, type OnPiece } from "./file-body.ts";
import { stallTimer } from "./stall-timer.ts";
import { isTransient, retryAfterMs } from "./transient.ts";

const fetch = nodeFetch as unknown as typeof globalThis.fetch;

/** More than this of an answer is read by nobody. */
const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_REDIRECTS = 5;

/**
 * A server that has all of a body may be silent for longer than one that is still taking it in: Cloudflare lets a Worker
 * think for 100 s before it answers 524 itself.
 */
const ANSWER_PATIENCE = 2;

export type RegistryRequest = {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Blob;
  /** Rights that it needs beyond those on the registry's own repository, as token servers write them. */
  readonly scopes?: readonly string[];
  readonly onPiece?: OnPiece;
  /** In place of the registry's own stall timeout: for what a server does long after it has all bytes. */
  readonly stallTimeoutMs?: number;
};

export type RegistryResponse = {
  readonly status: number;
  readonly headers: Headers;
  /** What was asked in the end, after redirects: `Location` resolves against it. */
  readonly url: URL;
  /** At most 1 MiB of the body. */
  readonly text: string;
};

/**
 * Sends one request, and follows redirects. A 401 or 403 is answered once with newer credentials, where there are some, and
 * the same body. Whatever status comes back in the end is an answer; `PushError` is thrown where none came.
 */
export async function send(registry: Registry, request: RegistryRequest): Promise<RegistryResponse> {
  let url = request.url;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await sendAuthorized(registry, request, url);
    const location = response.headers.get("location");
    if (location !== null && repeatsSecret(location, registry.auth.secrets())) {
      throw new PushError(
        "REDIRECT_REFUSED",
        `${url.origin} sent a Location that repeats the password or the token.`,
      );
    }
    if (!isRedirect(response.status, request) || location === null) return response;
    url = resolveLocation(location, url);
  }
  throw new PushError(
    "REDIRECT_REFUSED",
    `${describe(request)} was redirected more than ${MAX_REDIRECTS} times.`,
  );
}

/** Sends a small request whose repetition does no harm, again and again until it is answered or refused. */
export async function sendPersistently(
  registry: Registry,
  request: RegistryRequest,
  check: (response: RegistryResponse) => void,
): Promise<RegistryResponse> {
  return retry(registry.retryPolicy, isTransient, retryAfterMs, async () => {
    const response = await send(registry, request);
    check(response);
    return response;
  });
}

/** Only 307 and 308 keep method and body; the older ones would turn an upload into a GET. */
function isRedirect(status: number, { method }: RegistryRequest): boolean {
  const isRead = method === "GET" || method === "HEAD";
  return status === 307 || status === 308 || (isRead && [301, 302, 303].includes(status));
}

/** Resolves a `Location`, which may be relative or elsewhere. Throws `REDIRECT_REFUSED` from https to http. */
export function resolveLocation(location: string, base: URL): URL {
  const url = URL.parse(location, base.href);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new PushError("REDIRECT_REFUSED", `${base.origin} sent a Location that is no address.`);
  }
  if (base.protocol === "https:" && url.protocol === "http:") {
    throw new PushError(
      "REDIRECT_REFUSED",
      `${base.origin} leads from https to ${url.origin}, where everybody can read along.`,
      {
        hint: "A registry behind a TLS proxy must be told so: the proxy has to send X-Forwarded-Proto: https.",
      },
    );
  }
  return url;
}

async function sendAuthorized(
  registry: Registry,
  request: RegistryRequest,
  url: URL,
): Promise<RegistryResponse> {
  // Storage behind a registry has credentials of its own, and must not learn ours.
  if (url.origin !== registry.origin) return sendOnce(registry, request, url, undefined);
  const { scopes } = request;
  const authorization = await registry.auth.authorization(scopes);
  const response = await sendOnce(registry, request, url, authorization);
  if (response.status !== 401 && response.status !== 403) return response;
  const renewed = await registry.auth.renew(response.headers, authorization, scopes);
  return renewed === undefined ? response : sendOnce(registry, request, url, renewed);
}

/**
 * Sends one request, once, to where it is told. The body goes up with its exact length, as serverless-registry needs
 * it.
 */
export async function sendOnce(
  registry: Pick<Registry, "signal" | "stallTimeoutMs" | "trust">,
  request: RegistryRequest,
  url: URL,
  authorization: string | undefined,
): Promise<RegistryResponse> {
  const timeoutMs = request.stallTimeoutMs ?? registry.stallTimeoutMs;
  const answerTimeoutMs = Math.max(timeoutMs, registry.stallTimeoutMs * ANSWER_PATIENCE);
  using stall = stallTimer(timeoutMs, describe(request));
  const signal = AbortSignal.any([registry.signal, stall.signal]);
  const headers = new Headers(request.headers);
  headers.set("user-agent", "chunkpush");
  if (authorization !== undefined) headers.set("authorization", authorization);
  const { body } = request;
  const hasBody = body !== undefined && body.size > 0;
  if (request.method !== "GET" && request.method !== "HEAD")
    headers.set("content-length", String(body?.size ?? 0));
  try {
    const response = await fetch(url, {
      method: request.method,
      headers,
      redirect: "manual",
      signal,
      ...(url.protocol === "https:" && { tls: registry.trust }),
      // Bun's own limit of some minutes for a whole request knows nothing of progress.
      ...({ timeout: false } as object),
      // Whatever BUN_CONFIG_VERBOSE_FETCH says: it would print the Authorization header.
      verbose: false,
      ...(hasBody && {
        body: fileBody(body, signal, (end, piece) => {
          stall.moved(end === body.size ? answerTimeoutMs : timeoutMs);
          return request.onPiece?.(end, piece);
        }),
      }),
    });
    stall.moved(timeoutMs);
    return { status: response.status, headers: response.headers, url, text: await readText(response) };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof PushError) throw error;
    throw await connectionError(error, request.method, url);
  }
}

/** Reading the answer to its end is what lets the connection serve the next request. */
async function readText(response: Response): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let readBytes = 0;
  for await (const piece of response.body) {
    readBytes += piece.length;
    text += decoder.decode(piece, { stream: true });
    if (readBytes >= MAX_ANSWER_BYTES) break;
  }
  return text;
}

function describe({ method, url }: RegistryRequest): string {
  return `${method} ${url.origin}${url.pathname}`;
}
