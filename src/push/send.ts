import { PushError, RegistryError } from "../errors.ts";
import { type BlobGuard, guardBlob } from "../layers/guard.ts";
import type { ReadyBlob } from "../layers/prepare.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { findBlob } from "../registry/find-blob.ts";
import { uploadBlob } from "../registry/upload/upload-blob.ts";
import type { BlobTitle } from "../report/events.ts";
import { uploadName } from "../store/file-names.ts";
import { type Job, reportBlob } from "./job.ts";
import type { Brought, Target } from "./target.ts";

export type SendOptions = {
  /** What the registry answered when it was asked for the blob before. Undefined: it has not been asked. */
  readonly answer?: { readonly found: Awaited<ReturnType<typeof findBlob>> };
  /** Of the blobs that wait, the highest priority is sent first. @default the size in bytes */
  readonly priority?: number;
  /** False: the registry is mistaken about what it has. The blob is sent. @default true */
  readonly believesRegistry?: boolean;
};

/** Brings a blob to the registry, unless it is there or on its way already. Throws as `sendReady` does. */
export function bringReady(
  ready: ReadyBlob,
  name: BlobTitle,
  target: Target,
  job: Job,
  options: SendOptions = {},
): Promise<Brought> {
  const { digest } = ready.blob.descriptor;
  const begun = target.brought.get(digest) ?? sendReady(ready, name, target, job, options);
  target.brought.set(digest, begun);
  return begun;
}

/**
 * Sends a blob unless the registry has it. Pushes that share a cache send a blob to a repository one at a time, so that
 * all but the first find it there. Throws `CONTENT_MISMATCH` for content that is not what its digest says, and what
 * uploading throws.
 */
export async function sendReady(
  ready: ReadyBlob,
  name: BlobTitle,
  target: Target,
  job: Job,
  { answer, believesRegistry = true, priority = ready.blob.descriptor.size }: SendOptions = {},
): Promise<Brought> {
  const { descriptor } = ready.blob;
  let isContended = false;
  using _lock = await job.locks.take(uploadName(target.registry(), descriptor.digest), () => {
    isContended = true;
    reportBlob(job, name, { state: "awaiting-upload" });
  });
  let found: Awaited<ReturnType<Target["ask"]>>;
  if (believesRegistry) {
    found =
      answer === undefined || isContended ? await target.ask(descriptor.digest, name.title) : answer.found;
  }
  if (found?.sizeBytes === descriptor.size) return present(descriptor, name, job);
  return target.uploading(priority, async () => {
    if (found === undefined) return upload(ready, name, target, job, believesRegistry);
    // serverless-registry tells a wrong size for mounted blobs: make sure that ours is what its digest says.
    await ready.guard?.verify();
    return present(descriptor, name, job);
  });
}

/** Takes note of a blob that the registry said it has. */
export function present(descriptor: Descriptor, name: BlobTitle, job: Job, from?: string): Brought {
  const sizeBytes = descriptor.size;
  job.count.presentBytes += sizeBytes;
  if (from === undefined) reportBlob(job, name, { state: "done", how: "present", sizeBytes });
  else reportBlob(job, name, { state: "done", how: "mounted", sizeBytes, from });
  return { descriptor, how: from === undefined ? "present" : "mounted" };
}

async function upload(
  ready: ReadyBlob,
  name: BlobTitle,
  target: Target,
  job: Job,
  mayMount: boolean,
): Promise<Brought> {
  try {
    return await uploadOnce(ready, name, target, job, { mayMount, guard: ready.guard });
  } catch (error) {
    // serverless-registry answers a bare 500 where the content does not match the digest.
    const isRefused = error instanceof RegistryError && error.answer.specCodes.includes("DIGEST_INVALID");
    const isDoubtful = isRefused || (error instanceof RegistryError && error.answer.status === 500);
    if (!isDoubtful) throw error;
    // Damage here is the better explanation.
    await guardBlob(ready.blob, name.title, job.signal).verify();
    if (!isRefused) throw error;
    // The bytes at the registry are not those that were sent.
    return uploadOnce(ready, name, target, job, { mayMount: true, guard: undefined });
  }
}

async function uploadOnce(
  { blob }: ReadyBlob,
  name: BlobTitle,
  target: Target,
  job: Job,
  { mayMount, guard }: { readonly mayMount: boolean; readonly guard: BlobGuard | undefined },
): Promise<Brought> {
  const { descriptor } = blob;
  const { size } = descriptor;
  const { chunkBytes, allowOversize, cacheFrom } = job.options;
  const { resumedBytes, mountedFrom } = await uploadBlob(target.registry(name.title), blob, {
    chunkBytes,
    allowOversize,
    mayMount,
    mountFrom: cacheFrom.map(({ repository }) => repository),
    onProgress: (doneBytes) => reportBlob(job, name, { state: "uploading", doneBytes, totalBytes: size }),
    onPiece: guard?.pass,
    onRefused: (bodyBytes) => job.report({ type: "notice", code: "BODY_REFUSED", ...name, bodyBytes }),
  });
  if (mountedFrom !== undefined) return present(descriptor, name, job, mountedFrom);
  // No piece of an empty blob has passed.
  await guard?.verify();
  const sentBytes = size - resumedBytes;
  reportBlob(job, name, { state: "done", how: "sent", sizeBytes: size, sentBytes });
  job.count.sentBytes += sentBytes;
  job.count.presentBytes += resumedBytes;
  return { descriptor, how: "sent" };
}

/** Tells whether a blob of the cache is to be made again: it is damaged, or cannot be read any more. */
export function isDamaged(error: unknown): boolean {
  return error instanceof PushError && (error.code === "CONTENT_MISMATCH" || error.code === "FILE_FAILED");
}
