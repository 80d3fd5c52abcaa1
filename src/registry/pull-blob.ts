import { fileError, OTHER_CACHE, PushError } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { backOff, NO_FAILURES } from "../retry.ts";
import { pullScope } from "./auth/scope.ts";
import { expectStatus } from "./http/expect-status.ts";
import { open } from "./http/send.ts";
import { readAnswer } from "./http/send-once.ts";
import { isTransient, retryAfterMs } from "./http/transient.ts";
import { blobUrl, type Call, type Repository } from "./registry.ts";
import { type GrowingFile, growingFile } from "./upload/growing-file.ts";
import type { NamedBlob } from "./upload/outgoing.ts";

/** Less progress earns no retries: a connection might break after every byte. */
const LEAST_PROGRESS_BYTES = 1024 * 1024;

/** A blob whose bytes come from another registry, into a file that disposal removes. */
export type PulledBlob = NamedBlob &
  AsyncDisposable & {
    /** Aborted with the failure where the source does not give the bytes. An upload that has some can be resumed. */
    readonly lost: AbortSignal;
  };

/**
 * Reads a blob from a registry while it is sent to another. The download begins when its bytes are first wanted. Other
 * bytes than those of its digest fail it with `CONTENT_MISMATCH`, and the last ones are never given out then. Throws
 * `FILE_FAILED`.
 *
 * @param directory where the file is
 */
export async function pullBlob(
  from: Repository,
  descriptor: Descriptor,
  directory: string,
  call: Call,
): Promise<PulledBlob> {
  const file = await growingFile(directory, "pull", (cause) =>
    fileError(cause, `write to the cache folder "${directory}"`, OTHER_CACHE),
  );
  file.declare(descriptor);
  const lost = new AbortController();
  const ended = new AbortController();
  const signal = AbortSignal.any([call.signal, ended.signal]);
  let filled: Promise<void> | undefined;
  const begin = () => {
    filled ??= download(from, descriptor, file, { ...call, signal }).catch((error: unknown) => {
      file.fail(error as Error);
      // An upload that has wrong bytes must not be resumed.
      if (!(error instanceof PushError && error.code === "CONTENT_MISMATCH")) lost.abort(error);
    });
  };
  return {
    descriptor,
    lost: lost.signal,
    get end() {
      begin();
      return file.end;
    },
    get grows() {
      return file.grows;
    },
    slice(...range) {
      begin();
      return file.slice(...range);
    },
    async [Symbol.asyncDispose]() {
      ended.abort(new PushError("INTERRUPTED", "The blob is not wanted any more."));
      await filled;
      await file[Symbol.asyncDispose]();
    },
  };
}

/** Fills a file with a blob, and verifies it. After a broken connection the download resumes where the file ends. */
async function download(
  from: Repository,
  descriptor: Descriptor,
  file: GrowingFile,
  call: Call,
): Promise<void> {
  const { origin, retries } = from.registry;
  for (let failures = NO_FAILURES; ; ) {
    const startBytes = file.sizeBytes;
    try {
      if (startBytes < descriptor.size) await readRest(from, descriptor, file, call);
      await file.finish(descriptor.digest, `${origin} gives out a blob`);
      return;
    } catch (error) {
      call.signal.throwIfAborted();
      if (file.sizeBytes - startBytes >= LEAST_PROGRESS_BYTES) failures = NO_FAILURES;
      if (failures.count >= retries.count || !isTransient(error)) throw error;
      failures = await backOff(retries, failures, error, retryAfterMs(error), call);
    }
  }
}

/** GET: reads what the file lacks. A server that does not know ranges sends everything once more. */
async function readRest(
  from: Repository,
  { digest, size }: Descriptor,
  file: GrowingFile,
  call: Call,
): Promise<void> {
  const startBytes = file.sizeBytes;
  const request = {
    method: "GET",
    url: blobUrl(from, digest),
    headers: startBytes > 0 ? { range: `bytes=${startBytes}-` } : {},
    scopes: [pullScope(from.name)],
  } as const;
  const response = await open(from, request, call);
  const { status, headers, body } = response;
  if (status !== 200 && status !== 206)
    expectStatus(from, request, await readAnswer(from.registry, response), [200, 206]);
  const { first, total = size } = extentOf(status, headers);
  const differs = (what: string) =>
    new PushError("CONTENT_MISMATCH", `${from.registry.origin} gives out ${digest} ${what}.`);
  if (total !== size) throw differs(`with ${total} bytes, but its manifest says ${size}`);
  if (!(first <= startBytes)) throw differs("from another place on than was asked for");
  let skippedBytes = startBytes - first;
  for await (const piece of body ?? []) {
    const fresh = piece.subarray(skippedBytes);
    skippedBytes -= piece.length - fresh.length;
    if (file.sizeBytes + fresh.length > size)
      throw differs(`with more than the ${size} bytes of its manifest`);
    if (fresh.length > 0) file.append(fresh);
  }
  if (file.sizeBytes < size) {
    throw new PushError(
      "CONNECTION_LOST",
      `${from.registry.origin} ended ${digest} after ${file.sizeBytes} of ${size} bytes.`,
      {
        hint: "Run the same command again.",
      },
    );
  }
}

/** Returns where a body begins in its blob, and the size of the whole where the server tells it. */
function extentOf(status: number, headers: Headers): { readonly first: number; readonly total?: number } {
  const length = headers.get("content-length");
  if (status === 200) return { first: 0, ...(length !== null && { total: Number(length) }) };
  const [, first, total = "*"] =
    /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  return { first: Number(first), ...(total !== "*" && { total: Number(total) }) };
}
