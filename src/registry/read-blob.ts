import { PushError, RESUME } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { backOff, NO_FAILURES } from "../retry.ts";
import { pullScope } from "./auth/scope.ts";
import { expectStatus } from "./http/expect-status.ts";
import { open } from "./http/send.ts";
import { readAnswer } from "./http/send-once.ts";
import { isTransient, retryAfterMs } from "./http/transient.ts";
import { blobUrl, type Call, type Repository } from "./registry.ts";

/** The progress that resets the retries: a connection might break after every byte. */
const LEAST_PROGRESS_BYTES = 1024 * 1024;

type Pieces = AsyncGenerator<Uint8Array<ArrayBuffer>>;

/**
 * GET: reads a blob. Resumes the download after a broken connection. The bytes are unverified. Throws `CONTENT_MISMATCH` if
 * the registry reports another size or offset.
 */
export async function* readBlob(from: Repository, descriptor: Descriptor, call: Call): Pieces {
  const { retries } = from.registry;
  let failures = NO_FAILURES;
  for (let readBytes = 0; ; ) {
    const startBytes = readBytes;
    try {
      for await (const piece of readRest(from, descriptor, startBytes, call)) {
        readBytes += piece.length;
        yield piece;
      }
      return;
    } catch (error) {
      call.signal.throwIfAborted();
      if (readBytes >= descriptor.size) return;
      if (readBytes - startBytes >= LEAST_PROGRESS_BYTES) failures = NO_FAILURES;
      if (failures.count >= retries.count || !isTransient(error)) throw error;
      failures = await backOff(retries, failures, error, retryAfterMs(error), call);
    }
  }
}

/** Reads a blob from an offset on. Skips the start if the server ignores ranges. */
async function* readRest(
  from: Repository,
  { digest, size }: Descriptor,
  startBytes: number,
  call: Call,
): Pieces {
  const { origin } = from.registry;
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
  const differs = (what: string) => new PushError("CONTENT_MISMATCH", `${origin} returns ${digest} ${what}.`);
  if (total !== size) throw differs(`with ${total} bytes, but its manifest says ${size}`);
  if (!(first <= startBytes)) throw differs("from another offset than requested");
  let skippedBytes = startBytes - first;
  let readBytes = startBytes;
  for await (const piece of body ?? []) {
    const fresh = piece.subarray(skippedBytes) as Uint8Array<ArrayBuffer>;
    skippedBytes -= piece.length - fresh.length;
    readBytes += fresh.length;
    if (fresh.length > 0) yield fresh;
  }
  if (readBytes >= size) return;
  throw new PushError(
    "CONNECTION_LOST",
    `${origin} ended the download of ${digest} after ${readBytes} of ${size} bytes.`,
    { hint: RESUME },
  );
}

/** Returns a body's offset in its blob, and the blob's size if the server reports it. */
function extentOf(status: number, headers: Headers): { readonly first: number; readonly total?: number } {
  const length = headers.get("content-length");
  if (status === 200) return { first: 0, ...(length !== null && { total: Number(length) }) };
  const [, first, total = "*"] =
    /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  return { first: Number(first), ...(total !== "*" && { total: Number(total) }) };
}
