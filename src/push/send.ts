import { PushError } from "../errors.ts";
import { guardBlob } from "../layers/guard.ts";
import { isIntact, type ReadyBlob } from "../layers/prepare.ts";
import type { StoredBlob } from "../oci/content.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type EnsureOptions, ensureBlob, mayBeWrongContent } from "../registry/upload/ensure.ts";
import { type NamedBlob, outgoingBlob } from "../registry/upload/outgoing.ts";
import { streamedBlob } from "../registry/upload/streamed-blob.ts";
import type { BlobTitle } from "../report/events.ts";
import type { Source } from "../source/source.ts";
import { callOf, type Job, reportBlob } from "./job.ts";
import type { Brought, Target } from "./target.ts";

/** A blob to send. Without a guard, it is verified already, or while it streams in. */
export type Sendable =
  | ReadyBlob
  | { readonly origin: "source"; readonly blob: StoredBlob; readonly guard?: undefined };

/** Wraps a blob of the source, which is verified while it is sent. */
export function readyAsStored(blob: StoredBlob, name: string, signal: AbortSignal): Sendable {
  const { descriptor, content } = blob;
  if (!(content instanceof Blob)) return { origin: "source", blob };
  const whole = { descriptor, content };
  return { origin: "source", blob: whole, guard: guardBlob(whole, name, signal) };
}

export type BringOptions = Pick<EnsureOptions, "answer" | "priority" | "mayMount">;

/** Sends a blob unless the registry has it, or its upload has begun. Throws the errors of `sendReady`. */
export function bringReady(
  ready: Sendable,
  name: BlobTitle,
  target: Target,
  job: Job,
  options: BringOptions = {},
): Promise<Brought> {
  const { digest } = ready.blob.descriptor;
  const begun = target.brought.get(digest);
  if (begun !== undefined) {
    if (name.id !== begun.id) reportBlob(job, name, { state: "identified", as: begun.id });
    return begun.upload;
  }
  const upload = sendReady(ready, name, target, job, options);
  target.brought.set(digest, { id: name.id, upload });
  job.uploads.add(upload);
  return upload;
}

/**
 * Sends a blob unless the registry has it. Throws `CONTENT_MISMATCH` for content that does not match its digest, and the
 * errors of `ensureBlob`.
 */
export async function sendReady(
  { blob: { descriptor, content }, guard }: Sendable,
  name: BlobTitle,
  target: Target,
  job: Job,
  options: BringOptions = {},
): Promise<Brought> {
  if (content instanceof Blob)
    return send(outgoingBlob({ descriptor, content }, guard), name, target, job, options);
  const { size } = descriptor;
  return job.streaming.run(options.priority ?? size, async () => {
    await using blob = await streamedBlob({ descriptor, content }, job.cache.directory, job.signal);
    const signal = AbortSignal.any([job.signal, blob.lost]);
    return await send(blob, name, target, { ...job, signal }, options);
  });
}

async function send(
  blob: NamedBlob,
  name: BlobTitle,
  { at, mountFrom }: Target,
  job: Job,
  options: BringOptions,
): Promise<Brought> {
  const { descriptor } = blob;
  const { chunkBytes, allowOversize } = job.options;
  keep(descriptor, 0, job);
  const ensured = await ensureBlob(at, blob, {
    ...callOf(job, name, descriptor.digest),
    abort: job.abort,
    ...options,
    locks: job.locks,
    onWaiting: () => reportBlob(job, name, { state: "awaiting-upload" }),
    chunkBytes,
    allowOversize,
    mountFrom,
    onProgress(doneBytes, keptBytes, chunkBytes) {
      keep(descriptor, keptBytes, job);
      const totalBytes = descriptor.size;
      reportBlob(job, name, { state: "uploading", doneBytes, keptBytes, chunkBytes, totalBytes });
    },
    onRefused: (bodyBytes) => job.report({ type: "notice", code: "BODY_REFUSED", ...name, bodyBytes }),
  });
  if (ensured.how !== "sent")
    return present(descriptor, name, job, ensured.how === "mounted" ? ensured.from : undefined);
  const { sentBytes, resumedBytes } = ensured;
  keep(descriptor, descriptor.size, job);
  reportBlob(job, name, { state: "done", how: "sent", sizeBytes: descriptor.size, sentBytes });
  job.count.sentBytes += sentBytes;
  job.count.presentBytes += resumedBytes;
  return { descriptor, how: "sent" };
}

/** Sets the number of a blob's bytes at the registry. */
function keep({ digest, size }: Descriptor, keptBytes: number, { kept }: Job): void {
  kept.set(digest, { keptBytes, totalBytes: size });
}

/** Counts and reports a blob that the registry has. */
export function present(descriptor: Descriptor, name: BlobTitle, job: Job, from?: string): Brought {
  const sizeBytes = descriptor.size;
  keep(descriptor, sizeBytes, job);
  job.count.presentBytes += sizeBytes;
  if (from === undefined) reportBlob(job, name, { state: "done", how: "present", sizeBytes });
  else reportBlob(job, name, { state: "done", how: "mounted", sizeBytes, from });
  return { descriptor, how: from === undefined ? "present" : "mounted" };
}

/** Tells whether an upload failed because the cached blob is damaged or unreadable. */
export async function isDamaged(
  error: unknown,
  { blob, origin }: Sendable,
  source: Source,
  job: Job,
): Promise<boolean> {
  if (origin === "source" && !(source.access === "any" && source.again)) return false;
  const { descriptor, content } = blob;
  if (!(content instanceof Blob)) return false;
  if (mayBeWrongContent(error)) return !(await isIntact({ descriptor, content }, job.signal));
  return error instanceof PushError && (error.code === "CONTENT_MISMATCH" || error.code === "FILE_FAILED");
}
