import { PushError, RegistryError } from "../errors.ts";
import { formatBytes } from "../format.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { backOff } from "../retry.ts";
import { chooseChunkSize, shrinkChunk } from "./chunk-size.ts";
import { findBlob } from "./find-blob.ts";
import type { Registry } from "./registry.ts";
import { isTransient, retryAfterMs } from "./transient.ts";
import { forgetUpload, recallUpload, rememberBodyLimit, rememberUpload } from "./upload-memory.ts";
import {
  askUpload,
  cancelUpload,
  closeUpload,
  sendChunk,
  sessionFromRefusal,
  startUpload,
  type UploadSession,
} from "./upload-session.ts";

/** Over and above the stall timeout, serverless-registry copies the blob once more when it closes an upload. */
const CLOSE_MS_PER_MB = 300;

/** How often a blob may be sent again from its first byte, other than in smaller chunks. */
const MAX_RESTARTS = 2;

/** A Worker's R2 cannot put together a larger blob: https://developers.cloudflare.com/r2/platform/limits/ */
const R2_MAX_BLOB_BYTES = 5 * 1024 ** 3;

export type UploadOptions = {
  /** Bytes; the server's maximum is stronger. Undefined: as the server wishes. */
  readonly chunkBytes: number | undefined;
  /** Tries blobs, too, that serverless-registry is known to fail at. @default false */
  readonly allowOversize?: boolean;
  /** Told how much of the blob is at the server or on its way. Goes back where the server has lost some. */
  readonly onProgress: (sentBytes: number) => void;
  /** Told that a body was refused for its size, and the size of the chunks in which the blob starts again. */
  readonly onShrink?: (chunkBytes: number) => void;
};

/** An upload under way. Its chunk size never changes: R2 wants all chunks equal. */
type Upload = {
  /** Where it stands; moves with every chunk. */
  session: UploadSession;
  readonly chunkBytes: number;
  /** The server's minimum for all chunks but the last. */
  readonly minBytes: number | undefined;
};

/**
 * Uploads a blob: in one PUT where it fits a chunk, else in equal PATCHes and an empty PUT. Where an earlier process
 * was interrupted, it goes on from there; where a body is refused for its size, the blob starts again in smaller
 * chunks.
 *
 * @returns how many of its bytes an earlier process had sent
 */
export async function uploadBlob(
  registry: Registry,
  blob: RegistryBlob,
  options: UploadOptions,
): Promise<number> {
  const { digest, size } = blob.descriptor;
  let upload = (await resumeUpload(registry, blob, options)) ?? (await beginUpload(registry, blob, options));
  let resumedBytes = upload.session.offset;
  for (;;) {
    try {
      await finishUpload(registry, blob, upload, options);
      await forgetUpload(registry, digest);
      if (registry.bodyLimit.maxBytes === upload.chunkBytes)
        await rememberBodyLimit(registry, upload.chunkBytes);
      return resumedBytes;
    } catch (error) {
      // What was interrupted, or broke off, is not given up: the same command goes on with it.
      if (registry.signal.aborted || isTransient(error)) throw error;
      await cancelUpload(registry, upload.session);
      await forgetUpload(registry, digest);
      const refusedBytes = Math.min(upload.chunkBytes, size);
      const smallerBytes = isSizeRefused(error)
        ? shrinkChunk(refusedBytes, upload.minBytes, headersOf(error))
        : undefined;
      if (smallerBytes === undefined) throw error;
      registry.bodyLimit.maxBytes = Math.min(smallerBytes, registry.bodyLimit.maxBytes ?? smallerBytes);
      options.onProgress(0);
      options.onShrink?.(smallerBytes);
      resumedBytes = 0;
      upload = await beginUpload(registry, blob, options);
    }
  }
}

/** POST, and the choice of the one chunk size. Throws `BLOB_TOO_LARGE` before a byte goes up in vain. */
async function beginUpload(registry: Registry, blob: RegistryBlob, options: UploadOptions): Promise<Upload> {
  const { digest, size } = blob.descriptor;
  const { limits, ...session } = await startUpload(registry);
  if (size > R2_MAX_BLOB_BYTES && isServerlessRegistry(session) && !options.allowOversize) {
    await cancelUpload(registry, session);
    throw new PushError(
      "BLOB_TOO_LARGE",
      `Cannot upload ${digest}: it has ${formatBytes(size)}, and serverless-registry fails, after all bytes were sent, at blobs over ${formatBytes(R2_MAX_BLOB_BYTES)}.`,
      {
        hint: "Split the layer in the Dockerfile: several COPY or RUN lines make several layers. --allow-oversize tries all the same.",
      },
    );
  }
  const chunkBytes = chooseChunkSize(size, options.chunkBytes, limits, registry.bodyLimit.maxBytes);
  const { minBytes } = limits;
  if (size > chunkBytes) await rememberUpload(registry, digest, { ...session, chunkBytes, minBytes });
  return { session, chunkBytes, minBytes };
}

/** The upload that an earlier process left, where the server still knows it and its chunks are not too large. */
async function resumeUpload(
  registry: Registry,
  { descriptor: { digest, size } }: RegistryBlob,
  options: UploadOptions,
): Promise<Upload | undefined> {
  const saved = await recallUpload(registry, digest);
  if (saved === undefined) return undefined;
  const mostBytes = Math.min(
    options.chunkBytes ?? saved.chunkBytes,
    registry.bodyLimit.maxBytes ?? saved.chunkBytes,
  );
  const current = await askUpload(registry, saved);
  if (current !== undefined && saved.chunkBytes <= mostBytes && current.offset <= size) {
    options.onProgress(current.offset);
    return { session: current, chunkBytes: saved.chunkBytes, minBytes: saved.minBytes };
  }
  if (current !== undefined) await cancelUpload(registry, current);
  await forgetUpload(registry, digest);
  return undefined;
}

/**
 * Sends what is missing, and closes. All retries of an upload happen here: after a failure the server is asked where it
 * stands, and the upload goes on from there; each byte of progress gives the full number of retries back.
 */
async function finishUpload(
  registry: Registry,
  blob: RegistryBlob,
  upload: Upload,
  options: UploadOptions,
): Promise<void> {
  const { digest, size } = blob.descriptor;
  const { chunkBytes, minBytes } = upload;
  const closeTimeoutMs = registry.stallTimeoutMs + (size / 1_000_000) * CLOSE_MS_PER_MB;
  let furthest = upload.session.offset;
  let failures = 0;
  let restarts = 0;
  let closeFailures = 0;

  /** A byte that was never there before is progress; going back and forth is none. */
  const moveTo = async (session: UploadSession) => {
    upload.session = session;
    if (session.offset > furthest) failures = 0;
    furthest = Math.max(furthest, session.offset);
    if (size > chunkBytes) await rememberUpload(registry, digest, { ...session, chunkBytes, minBytes });
  };

  for (;;) {
    let closing = false;
    try {
      if (upload.session.offset === 0 && size <= chunkBytes) {
        closing = true;
        const whole = { content: blob.content, onProgress: options.onProgress };
        await registry.slots.run(() => closeUpload(registry, upload.session, digest, closeTimeoutMs, whole));
        return;
      }
      while (upload.session.offset < size) {
        const { session } = upload;
        const { offset } = session;
        const chunk = blob.content.slice(offset, Math.min(offset + chunkBytes, size));
        const onProgress = (sentBytes: number) => options.onProgress(offset + sentBytes);
        await moveTo(await registry.slots.run(() => sendChunk(registry, session, chunk, onProgress)));
      }
      closing = true;
      await registry.slots.run(() => closeUpload(registry, upload.session, digest, closeTimeoutMs));
      return;
    } catch (error) {
      registry.signal.throwIfAborted();
      if (++failures > registry.retryPolicy.retries || !mayGoOn(error)) throw error;
      await backOff(registry.retryPolicy, failures, error, retryAfterMs(error));
      if (closing && (await findBlob(registry, digest)) !== undefined) return;
      if (closing && maySessionBeDead(error)) closeFailures++;

      const current = sessionFromRefusal(error) ?? (await askUpload(registry, upload.session));
      // After a failed close, serverless-registry still tells of a session that is dead for good.
      const isUsable = current !== undefined && current.offset <= size && closeFailures <= 1;
      if (isUsable) await moveTo(current);
      else if (restarts++ < MAX_RESTARTS) {
        furthest = 0;
        closeFailures = 0;
        if (current !== undefined) await cancelUpload(registry, current);
        await moveTo(await startUpload(registry));
      } else throw error;
      options.onProgress(upload.session.offset);
    }
  }
}

/** Beyond what passes by itself: an offset that was not the server's, and a session that it has forgotten. */
function mayGoOn(error: unknown): boolean {
  if (isSizeRefused(error)) return false;
  if (error instanceof RegistryError && (error.answer.status === 416 || error.answer.status === 404))
    return true;
  return error instanceof PushError && isTransient(error);
}

/** serverless-registry answers 500 to the closing PUT of a dead session. A 503, 52x or lost answer says nothing of it. */
function maySessionBeDead(error: unknown): boolean {
  return error instanceof RegistryError && (error.answer.status === 500 || error.answer.status === 404);
}

/** 413; and GHCR's 416, which tells of no place where the upload stands, because it is about the size. */
function isSizeRefused(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status } = error.answer;
  return status === 413 || (status === 416 && sessionFromRefusal(error) === undefined);
}

function headersOf(error: unknown): Headers | undefined {
  return error instanceof RegistryError ? error.answer.headers : undefined;
}

/** Only its upload addresses carry a hash of the upload's state. */
function isServerlessRegistry({ location }: UploadSession): boolean {
  return location.searchParams.has("_stateHash");
}
