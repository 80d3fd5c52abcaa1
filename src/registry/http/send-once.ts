// Bun resolves this import to its own fetch. Use Bun's types: the package's lack the TLS options.
import nodeFetch from "node-fetch";
import { PushError } from "../../errors.ts";
import { isLinkLocal } from "../../oci/address.ts";
import type { Call } from "../../retry.ts";
import type { Registry } from "../registry.ts";
import { assertPastAccess } from "./access-login.ts";
import { connectionError, proxyError } from "./connection-error.ts";
import type { ExtraHeaders } from "./extra-headers.ts";
import { fileBody, type OnPiece } from "./file-body.ts";
import type { HttpProxy } from "./proxy.ts";
import { type StallTimer, stallTimer } from "./stall-timer.ts";
import { tlsOptions } from "./trust.ts";
import { unlessAborted } from "./unless-aborted.ts";

const fetch = nodeFetch as unknown as typeof globalThis.fetch;

/**
 * Multiplies the stall timeout once all of a body is sent: Cloudflare gives a Worker 100 s before it answers 524.
 */
const ANSWER_PATIENCE = 2;

/** The limit for an answer's body. Messages and most documents are shorter. */
export const MAX_ANSWER_BYTES = 1024 * 1024;

/** An answer with fewer bytes per stall timeout has stalled. Single bytes could keep a request alive for weeks. */
const LEAST_MOVED_BYTES = 16 * 1024;

export type RegistryRequest = {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Blob;
  /** The scopes that the request needs. @default the push scope of the repository */
  readonly scopes?: readonly string[];
  readonly onPiece?: OnPiece;
  /** Replaces the registry's stall timeout, for requests that a server works on after it has all bytes. */
  readonly stallTimeoutMs?: number;
  /** The limit for the answer's body, in bytes. @default 1 MiB */
  readonly mostBytes?: number;
};

/** A response with an unread body, which the caller reads or cancels. */
export type RegistryResponse = {
  readonly status: number;
  readonly headers: Headers;
  /** The requested address, after redirects. `Location` resolves against it. */
  readonly url: URL;
  /** The body, not decompressed: a small answer may be a bomb. Reading throws `STALLED` and `CONNECTION_LOST`. */
  readonly body: ReadableStream<Uint8Array> | null;
};

/** A response with its body. */
export type Answer = Omit<RegistryResponse, "body"> & {
  /** The start of the body, up to the limit. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same as UTF-8 text. */
  readonly text: string;
};

/** Describes a request for a message. */
export function describe({ method, url }: Pick<RegistryRequest, "method" | "url">): string {
  return `${method} ${url.origin}${url.pathname}`;
}

/** The fields of a registry that a request needs. */
type Server = Pick<Registry, "origin" | "headers" | "stallTimeoutMs" | "trust" | "proxy" | "onExchange">;

/** Sends a request once, and reads the answer. Throws the errors of `openResponse` and `readAnswer`. */
export async function sendOnce(
  registry: Server,
  request: RegistryRequest,
  url: URL,
  authorization: string | undefined,
  call: Call,
): Promise<Answer> {
  return readAnswer(registry, await openResponse(registry, request, url, authorization, call));
}

/** Reads the start of a response's body. Throws `UNAUTHORIZED` for a login page of Cloudflare Access. */
export async function readAnswer(
  registry: Pick<Server, "origin" | "headers">,
  { body, ...response }: RegistryResponse,
  mostBytes = MAX_ANSWER_BYTES,
): Promise<Answer> {
  const bytes = await readStart(body, mostBytes);
  const answer = { ...response, bytes, text: new TextDecoder().decode(bytes) };
  if (response.url.origin === registry.origin) assertPastAccess(answer, registry.headers);
  return answer;
}

/**
 * Sends a request once to an address. A body has its exact Content-Length: serverless-registry buffers others in memory.
 * Throws a `PushError` without a response, and `REDIRECT_REFUSED` for a link-local address that is not the registry's.
 */
export async function openResponse(
  registry: Server,
  request: RegistryRequest,
  url: URL,
  authorization: string | undefined,
  call: Call,
): Promise<RegistryResponse> {
  assertReachable(url, registry.origin);
  const timeoutMs = request.stallTimeoutMs ?? registry.stallTimeoutMs;
  const answerTimeoutMs = Math.max(timeoutMs, registry.stallTimeoutMs * ANSWER_PATIENCE);
  const stall = stallTimer(describe(request));
  const signal = AbortSignal.any([call.signal, stall.signal]);
  const proxy = proxyOf(registry, url);
  let isAnswered = false;
  const startMs = performance.now();
  const tell = (outcome: { status: number } | { error: unknown }) =>
    registry.onExchange?.({
      method: request.method,
      url,
      bodyBytes: request.body?.size ?? 0,
      durationMs: performance.now() - startMs,
      ...outcome,
    });
  const explain = async (error: unknown): Promise<unknown> => {
    stall.stop();
    if (signal.aborted) return signal.reason;
    return error instanceof PushError ? error : await connectionError(error, request.method, url, proxy);
  };
  const { body } = request;
  const hasBody = body !== undefined && body.size > 0;
  stall.restart(timeoutMs);
  try {
    const answering = fetch(url, {
      method: request.method,
      headers: headersOf(request, url.origin === registry.origin ? registry.headers : {}, authorization),
      redirect: "manual",
      signal,
      decompress: false,
      ...(url.protocol === "https:" && { tls: tlsOptions(registry, url) }),
      // With `undefined` instead of `false`, which Bun's types lack, Bun reads a proxy from the environment.
      proxy: (proxy?.address ?? false) as string,
      // Turn off Bun's limit of some minutes for a whole request, which ignores progress.
      ...({ timeout: false } as object),
      // With BUN_CONFIG_VERBOSE_FETCH, Bun would print the Authorization header.
      verbose: false,
      ...(hasBody && {
        body: fileBody(body, signal, (end, piece) => {
          // A server may answer before it has the whole body.
          if (!isAnswered) stall.restart(end === body.size ? answerTimeoutMs : timeoutMs);
          return request.onPiece?.(end, piece);
        }),
      }),
    });
    // End the wait with the signal even if Bun does not.
    const response = await unlessAborted(answering, signal);
    isAnswered = true;
    stall.stop();
    const { status, headers } = response;
    if (status === 407 && proxy !== undefined) throw proxyError(proxy, "it requires a login (407)");
    tell({ status });
    // The body is a Node stream, despite its type.
    const answer: AsyncIterable<Uint8Array> | null = response.body;
    return { status, headers, url, body: answer && timed(answer, stall, timeoutMs, signal, explain) };
  } catch (error) {
    isAnswered = true;
    const explained = await explain(error);
    tell({ error: explained });
    throw explained;
  }
}

/** Returns the proxy for an address. The library's callers may return it as text. */
export function proxyOf(registry: Pick<Server, "proxy">, url: URL): HttpProxy | undefined {
  const proxy = registry.proxy(url);
  return typeof proxy === "string" ? { address: proxy, name: "proxy" } : proxy;
}

/** Throws `REDIRECT_REFUSED` for a link-local address, such as a cloud's metadata service, unless it is the target. */
function assertReachable(url: URL, origin: string): void {
  if (!isLinkLocal(url) || url.hostname === new URL(origin).hostname) return;
  throw new PushError(
    "REDIRECT_REFUSED",
    `${origin} redirects to ${url.origin}, a link-local address, which is another machine in each network.`,
    { hint: "If that is the registry, name it in the target." },
  );
}

function headersOf(
  { method, headers, body }: RegistryRequest,
  extra: ExtraHeaders,
  authorization: string | undefined,
): Headers {
  const all = new Headers({ ...extra, ...headers });
  all.set("user-agent", "chunkpush");
  all.set("accept-encoding", "identity");
  if (authorization !== undefined) all.set("authorization", authorization);
  if (method !== "GET" && method !== "HEAD") all.set("content-length", String(body?.size ?? 0));
  return all;
}

/** Passes a body on, and times the waits for the server. A slow reader does not count. */
function timed(
  body: AsyncIterable<Uint8Array>,
  stall: StallTimer,
  timeoutMs: number,
  signal: AbortSignal,
  explain: (error: unknown) => Promise<unknown>,
): ReadableStream<Uint8Array> {
  const pieces = body[Symbol.asyncIterator]();
  /** The wait since the last 16 KiB. */
  let waitedMs = 0;
  let movedBytes = 0;
  return new ReadableStream(
    {
      async pull(controller) {
        const startMs = performance.now();
        stall.restart(timeoutMs - waitedMs, timeoutMs);
        const read = await unlessAborted(pieces.next(), signal).catch(async (error: unknown) => {
          throw await explain(error);
        });
        stall.stop();
        if (read.done) return controller.close();
        waitedMs += performance.now() - startMs;
        movedBytes += read.value.length;
        if (movedBytes >= LEAST_MOVED_BYTES) waitedMs = movedBytes = 0;
        controller.enqueue(read.value);
      },
      cancel: () => void pieces.return?.().catch(() => undefined),
    },
    { highWaterMark: 0 },
  );
}

/** Reads the start of a body. A longer body loses its connection, which otherwise serves the next request. */
async function readStart(
  body: RegistryResponse["body"],
  mostBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let readBytes = 0;
  for await (const piece of body ?? []) {
    pieces.push(piece);
    readBytes += piece.length;
    // Leaving the loop cancels the body.
    if (readBytes >= mostBytes) break;
  }
  return Buffer.concat(pieces, readBytes);
}
