import { PushError, RegistryError } from "../errors.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { backOff } from "../retry.ts";
import { chooseChunkSize } from "./chunk-size.ts";
import { findBlob } from "./find-blob.ts";
import type { Registry } from "./registry.ts";
import { isTransient, retryAfterMs } from "./transient.ts";
import {
  askUpload,
  closeUpload,
  sendChunk,
  sessionFromRefusal,
  startUpload,
  type UploadSession,
} from "./upload-session.ts";

/** Over and above the stall timeout, serverless-registry copies the blob once more when it closes an upload. */
const CLOSE_MS_PER_MB = 300;

/** How often a blob may be sent again from its first byte. */
const MAX_RESTARTS = 2;

export type UploadOptions = {
  /** Bytes; the server's maximum is stronger. Undefined: as the server wishes. */
  readonly chunkBytes: number | undefined;
  /** Told how much of the blob is at the server or on its way. Goes back where the server has lost some. */
  readonly onProgress: (sentBytes: number) => void;
};

/**
 * Uploads a blob: in one PUT where it fits a chunk, else in equal PATCHes and an empty PUT.
 *
 * All retries of an upload happen here. After a failure the server is asked where it stands, and the upload goes on
 * from there; each byte of progress gives the full number of retries back.
 */
export async function uploadBlob(
  registry: Registry,
  blob: RegistryBlob,
  options: UploadOptions,
): Promise<void> {
  const { digest, size } = blob.descriptor;
  const started = await startUpload(registry);
  const chunkBytes = chooseChunkSize(size, options.chunkBytes, started.limits);
  const closeTimeoutMs = registry.stallTimeoutMs + (size / 1_000_000) * CLOSE_MS_PER_MB;
  let session: UploadSession = started;
  let furthest = 0;
  let failures = 0;
  let restarts = 0;
  let closeFailures = 0;

  /** A byte that was never there before is progress; going back and forth is none. */
  const moveTo = (next: UploadSession) => {
    session = next;
    if (next.offset > furthest) failures = 0;
    furthest = Math.max(furthest, next.offset);
  };

  for (;;) {
    let closing = false;
    try {
      if (session.offset === 0 && size <= chunkBytes) {
        closing = true;
        await closeUpload(registry, session, digest, closeTimeoutMs, {
          content: blob.content,
          onProgress: options.onProgress,
        });
        return;
      }
      while (session.offset < size) {
        const { offset } = session;
        const chunk = blob.content.slice(offset, Math.min(offset + chunkBytes, size));
        moveTo(await sendChunk(registry, session, chunk, (sent) => options.onProgress(offset + sent)));
      }
      closing = true;
      await closeUpload(registry, session, digest, closeTimeoutMs);
      return;
    } catch (error) {
      registry.signal.throwIfAborted();
      if (++failures > registry.retryPolicy.retries || !mayGoOn(error)) throw error;
      await backOff(registry.retryPolicy, failures, error, retryAfterMs(error));
      if (closing && (await findBlob(registry, digest)) !== undefined) return;
      if (closing) closeFailures++;

      const current = sessionFromRefusal(error) ?? (await askUpload(registry, session));
      // After a failed close, serverless-registry still tells of a session that is dead for good.
      const isUsable = current !== undefined && current.offset <= size && closeFailures <= 1;
      if (isUsable) moveTo(current);
      else if (restarts++ < MAX_RESTARTS) {
        session = await startUpload(registry);
        furthest = 0;
        closeFailures = 0;
      } else throw error;
      options.onProgress(session.offset);
    }
  }
}

/** Beyond what passes by itself: an offset that was not the server's, and a session that it has forgotten. */
function mayGoOn(error: unknown): boolean {
  if (error instanceof RegistryError && (error.answer.status === 416 || error.answer.status === 404))
    return true;
  return error instanceof PushError && isTransient(error);
}
