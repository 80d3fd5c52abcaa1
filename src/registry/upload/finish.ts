import { PushError, RegistryError } from "../../errors.ts";
import type { RegistryBlob } from "../../oci/descriptor.ts";
import { backOff } from "../../retry.ts";
import { rememberUpload } from "../../store/upload-notes.ts";
import { findBlob } from "../find-blob.ts";
import type { OnPiece } from "../http/file-body.ts";
import { isTransient, retryAfterMs } from "../http/transient.ts";
import type { Registry } from "../registry.ts";
import { type BeginOptions, planChunks } from "./begin.ts";
import { suspectBodyLimit } from "./body-refusal.ts";
import {
  askUpload,
  cancelUpload,
  closeUpload,
  sendChunk,
  sessionFromRefusal,
  startUpload,
  type Upload,
  type UploadSession,
} from "./session.ts";

/** Over and above the stall timeout, serverless-registry copies the blob once more when it closes an upload. */
const CLOSE_MS_PER_MB = 300;

/** How often a blob is sent again because the server, having all of it, cannot put it together. */
const MAX_DEATHS = 2;

/** A chunk size that is smaller by less is not worth a new upload. */
const SHRINK_FACTOR = 2;

export type FinishOptions = BeginOptions & {
  /** Told how much of the blob is at the server or on its way. Goes back where the server has lost some. */
  readonly onProgress: (sentBytes: number) => void;
  /** Is shown every piece of the blob before it goes up. What it throws ends the upload. */
  readonly onPiece?: OnPiece | undefined;
};

/**
 * Sends what is missing, and closes. All retries of an upload happen here: after a failure the server is asked where it
 * stands, and the upload goes on from there; each byte of progress gives the full number of retries back. Where a first
 * chunk was lost that was too large for the link, the upload begins anew in smaller ones.
 *
 * @param upload its session moves with every chunk, and is another one where the server has forgotten the first
 */
export async function finishUpload(
  registry: Registry,
  blob: RegistryBlob,
  upload: Upload,
  { chunkBytes: wishBytes, onProgress, onPiece }: FinishOptions,
): Promise<void> {
  const { digest, size } = blob.descriptor;
  const { retries } = registry.retryPolicy;
  const closeTimeoutMs = registry.stallTimeoutMs + (size / 1_000_000) * CLOSE_MS_PER_MB;
  let furthest = upload.session.offset;
  let failures = 0;
  let restarts = 0;
  let closeFailures = 0;
  let deaths = 0;
  let cuts = 0;

  /** A byte that was never there before is progress; going back and forth is none. */
  const moveTo = async (session: UploadSession) => {
    upload.session = session;
    if (session.offset > furthest) failures = 0;
    furthest = Math.max(furthest, session.offset);
    if (size > upload.chunkBytes) await rememberUpload(registry, digest, upload);
  };

  /** A body, timed from when there is room for it. */
  const sendTimed = <T>(offset: number, send: (onSent: OnPiece) => Promise<T>): Promise<T> =>
    registry.slots.run(() =>
      registry.link.timed((moved) =>
        send(async (end, piece) => {
          await onPiece?.(offset + end, piece);
          moved(end);
          onProgress(offset + end);
        }),
      ),
    );

  for (;;) {
    let closing = false;
    try {
      if (upload.session.offset === 0 && size <= upload.chunkBytes) {
        closing = true;
        const { content } = blob;
        await sendTimed(0, (onSent) =>
          closeUpload(registry, upload.session, digest, closeTimeoutMs, { content, onPiece: onSent }),
        );
        return;
      }
      while (upload.session.offset < size) {
        const { session } = upload;
        const { offset } = session;
        const chunk = blob.content.slice(offset, Math.min(offset + upload.chunkBytes, size));
        await moveTo(await sendTimed(offset, (onSent) => sendChunk(registry, session, chunk, onSent)));
      }
      closing = true;
      await registry.slots.run(() => closeUpload(registry, upload.session, digest, closeTimeoutMs));
      return;
    } catch (error) {
      registry.signal.throwIfAborted();
      if (++failures > retries || !mayGoOn(error)) throw error;
      await backOff(registry.retryPolicy, failures, error, retryAfterMs(error));
      if (closing && (await findBlob(registry, digest)) !== undefined) return;
      if (closing && maySessionBeDead(error)) closeFailures++;

      const current = sessionFromRefusal(error) ?? (await askUpload(registry, upload.session));
      const hasNothing = furthest === 0 && !current?.offset;
      const bodyBytes = Math.min(upload.chunkBytes, size);
      cuts = isCut(error) && hasNothing ? cuts + 1 : 0;
      suspectBodyLimit(error, bodyBytes, cuts, upload.limits.minBytes);
      const plannedBytes = planChunks(registry, size, wishBytes, upload.limits);
      const isTooLarge = hasNothing && plannedBytes * SHRINK_FACTOR <= bodyBytes;
      // After a failed close, serverless-registry still tells of a session that is dead for good.
      const isDead = closeFailures > 1;
      if (current !== undefined && current.offset <= size && !isDead && !isTooLarge) await moveTo(current);
      else {
        // Where nothing was there, nothing is lost, and the retries alone are the limit.
        if (isDead ? ++deaths > MAX_DEATHS : furthest > 0 && ++restarts > retries) throw error;
        furthest = 0;
        closeFailures = 0;
        if (current !== undefined) await cancelUpload(registry, current);
        if (isTooLarge) {
          // Never in the same session: a chunk may be there after all, and R2 wants all of them equal.
          upload.chunkBytes = plannedBytes;
          cuts = 0;
        }
        await moveTo(await startUpload(registry));
      }
      onProgress(upload.session.offset);
    }
  }
}

/** Beyond what passes by itself: an offset that was not the server's, and a session that it has forgotten. */
function mayGoOn(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return isTransient(error);
  const { status } = error.answer;
  if (status === 416) return sessionFromRefusal(error) !== undefined;
  // Not implemented is for good, though its number is that of a passing fault.
  return status === 404 || (status !== 501 && isTransient(error));
}

/** serverless-registry answers 500 to the closing PUT of a dead session. A 503, 52x or lost answer says nothing of it. */
function maySessionBeDead(error: unknown): boolean {
  return error instanceof RegistryError && (error.answer.status === 500 || error.answer.status === 404);
}

function isCut(error: unknown): boolean {
  return error instanceof PushError && error.code === "CONNECTION_LOST";
}
