// Bun answers this import with its own fetch. Its own types know TLS options, which those of the package lack.
import nodeFetch from "node-fetch";
import { PushError } from "../../errors.ts";
import type { Call } from "../../retry.ts";
import type { Registry } from "../registry.ts";
import { connectionError } from "./connection-error.ts";
import { fileBody, type OnPiece } from "./file-body.ts";
import { type StallTimer, stallTimer } from "./stall-timer.ts";

const fetch = nodeFetch as unknown as typeof globalThis.fetch;

/**
 * A server that has all of a body may be silent for longer than one that is still taking it in: Cloudflare lets a
 * Worker think for 100 s before it answers 524 itself.
 */
const ANSWER_PATIENCE = 2;

export type RegistryRequest = {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Blob;
  /** Rights that it needs besides pushing to the repository, as token servers write them. */
  readonly scopes?: readonly string[];
  readonly onPiece?: OnPiece;
  /** Replaces the registry's stall timeout, for what a server does long after it has all bytes. */
  readonly stallTimeoutMs?: number;
};

/** A response whose body is still to be read. It has to be read, drained or cancelled. */
export type RegistryResponse = {
  readonly status: number;
  readonly headers: Headers;
  /** The address that was asked in the end, after redirects. `Location` resolves against it. */
  readonly url: URL;
  /** Throws `STALLED` and `CONNECTION_LOST`. A slow reader is no stall. */
  readonly body: ReadableStream<Uint8Array> | null;
};

/** A response whose body was read. */
export type Answer = Omit<RegistryResponse, "body"> & {
  /** The body, at most 1 MiB of it. */
  readonly text: string;
};

/** Describes a request for a message. */
export function describe({ method, url }: Pick<RegistryRequest, "method" | "url">): string {
  return `${method} ${url.origin}${url.pathname}`;
}

/**
 * Sends one request, once, to an address. The body goes up with its exact length: serverless-registry buffers bodies
 * without one in memory. Throws a `PushError` where no response came.
 */
export async function sendOnce(
  registry: Pick<Registry, "stallTimeoutMs" | "trust" | "proxy">,
  request: RegistryRequest,
  url: URL,
  authorization: string | undefined,
  call: Call,
): Promise<RegistryResponse> {
  const timeoutMs = request.stallTimeoutMs ?? registry.stallTimeoutMs;
  const answerTimeoutMs = Math.max(timeoutMs, registry.stallTimeoutMs * ANSWER_PATIENCE);
  const stall = stallTimer(describe(request));
  const signal = AbortSignal.any([call.signal, stall.signal]);
  const explain = async (error: unknown): Promise<unknown> => {
    stall.stop();
    if (signal.aborted) return signal.reason;
    return error instanceof PushError ? error : await connectionError(error, request.method, url);
  };
  const { body } = request;
  const hasBody = body !== undefined && body.size > 0;
  stall.restart(timeoutMs);
  try {
    const response = await fetch(url, {
      method: request.method,
      headers: headersOf(request, authorization),
      redirect: "manual",
      signal,
      ...(url.protocol === "https:" && { tls: registry.trust }),
      // Without `false`, which Bun's types lack, Bun takes a proxy from the environment.
      proxy: (registry.proxy(url) ?? false) as string,
      // Bun's own limit of some minutes for a whole request knows nothing of progress.
      ...({ timeout: false } as object),
      // With BUN_CONFIG_VERBOSE_FETCH, Bun would print the Authorization header.
      verbose: false,
      ...(hasBody && {
        body: fileBody(body, signal, (end, piece) => {
          stall.restart(end === body.size ? answerTimeoutMs : timeoutMs);
          return request.onPiece?.(end, piece);
        }),
      }),
    });
    stall.stop();
    const { status, headers } = response;
    // A stream of Node's, whatever its type says.
    const answer: AsyncIterable<Uint8Array> | null = response.body;
    return { status, headers, url, body: answer && timed(answer, stall, timeoutMs, explain) };
  } catch (error) {
    throw await explain(error);
  }
}

function headersOf({ method, headers, body }: RegistryRequest, authorization: string | undefined): Headers {
  const all = new Headers(headers);
  all.set("user-agent", "chunkpush");
  if (authorization !== undefined) all.set("authorization", authorization);
  if (method !== "GET" && method !== "HEAD") all.set("content-length", String(body?.size ?? 0));
  return all;
}

/** Passes a body on, and times each read while it waits for the server. */
function timed(
  body: AsyncIterable<Uint8Array>,
  stall: StallTimer,
  timeoutMs: number,
  explain: (error: unknown) => Promise<unknown>,
): ReadableStream<Uint8Array> {
  const pieces = body[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        stall.restart(timeoutMs);
        const read = await pieces.next().catch(async (error: unknown) => {
          throw await explain(error);
        });
        stall.stop();
        if (read.done) controller.close();
        else controller.enqueue(read.value);
      },
      cancel: async () => void (await pieces.return?.()),
    },
    { highWaterMark: 0 },
  );
}
