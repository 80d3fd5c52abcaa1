import type { Descriptor } from "../../oci/descriptor.ts";
import { forgetUpload, rememberLimits } from "../../store/upload-notes.ts";
import { isTransient } from "../http/transient.ts";
import type { Registry, Repository } from "../registry.ts";
import type { Turn } from "../slots.ts";
import { awaitRate, beginUpload, resumeUpload, uploadKey } from "./begin.ts";
import { learnFromRefusal } from "./body-refusal.ts";
import { finishUpload } from "./finish.ts";
import type { Outgoing } from "./outgoing.ts";
import type { TurnOptions } from "./send-in-turn.ts";
import { giveUp, type Upload } from "./session.ts";

/** The limit on refused bodies per blob. Halving the largest blob to 64 KiB takes fewer. */
const MAX_REFUSALS = 20;

export type SendOptions = TurnOptions & {
  /**
   * Called when the registry has refused a body and the blob starts again, with the size of the next bodies.
   */
  readonly onRefused?: ((bodyBytes: number) => void) | undefined;
};

export type Sent = {
  readonly descriptor: Descriptor;
  readonly sentBytes: number;
  /** The bytes that an earlier process sent. */
  readonly resumedBytes: number;
};

/**
 * Uploads a blob: in one PUT if it fits a chunk, else in PATCHes and an empty PUT. Resumes the upload of an interrupted
 * process. After a body was refused for its size, starts again with smaller chunks; after chunks were refused, with one PUT.
 * Sends the chunks of a growing blob as its bytes arrive.
 *
 * @param turn the slot of `registry.sending` that the upload holds
 */
export async function sendBlob(
  at: Repository,
  blob: Outgoing,
  options: SendOptions,
  turn: Turn,
): Promise<Sent> {
  const resumed = blob.descriptor && (await resumeUpload(at, blob.descriptor, options));
  return sendUpload(at, blob, resumed ?? (await beginUpload(at, blob, options, turn)), options, turn);
}

/** Completes an upload that has begun, or restarts it after a refused body. */
export async function sendUpload(
  at: Repository,
  blob: Outgoing,
  begun: Upload,
  options: SendOptions,
  turn: Turn,
): Promise<Sent> {
  const { registry } = at;
  let upload = begun;
  let resumedBytes = upload.session.offset;
  let refusals = 0;
  const tookBodies = registry.learned.emptyPuts;
  let { descriptor } = blob;
  // With a wished chunk size the saved limits were not loaded. Do not overwrite them.
  const isRateNew = () => options.chunkBytes === undefined && registry.link.shouldSave();
  // `slice` throws its failure.
  blob.end.then((end) => (descriptor = end)).catch(() => undefined);
  if (resumedBytes > 0) options.onProgress(resumedBytes, resumedBytes, upload.chunkBytes);
  for (;;) {
    try {
      using _probe = await awaitRate(at, blob, upload, options);
      const sent = await finishUpload(at, blob, upload, options, turn);
      await forgetUpload(registry.notes, uploadKey(at, sent.digest));
      const hasLearned = refusals > 0 || registry.learned.emptyPuts !== tookBodies;
      if (isRateNew() || hasLearned) await noteLimits(registry);
      return { descriptor: sent, sentBytes: sent.size - resumedBytes, resumedBytes };
    } catch (error) {
      // Keep the upload: the same command resumes it.
      if (options.signal.aborted) {
        if (isRateNew()) await noteLimits(registry);
        throw error;
      }
      const sizeBytes = descriptor?.size ?? Number.POSITIVE_INFINITY;
      const hasOtherWay = learnFromRefusal(registry, upload, sizeBytes, error) && ++refusals <= MAX_REFUSALS;
      if (!hasOtherWay && isTransient(error) && descriptor !== undefined) throw error;
      await giveUp(at, upload, options);
      if (descriptor !== undefined) await forgetUpload(registry.notes, uploadKey(at, descriptor.digest));
      if (!hasOtherWay) throw error;
      resumedBytes = 0;
      upload = await beginUpload(at, blob, options, turn);
      options.onProgress(0, 0, upload.chunkBytes);
      options.onRefused?.(Math.min(upload.chunkBytes, sizeBytes));
    }
  }
}

/** Saves the learned limits and the link's rate. */
async function noteLimits({ notes, origin, learned, link }: Registry): Promise<void> {
  const { toldBodyBytes, toldAtMs, wholePuts, emptyPuts } = learned;
  await rememberLimits(notes, origin, {
    maxBodyBytes: toldBodyBytes,
    toldAtMs,
    wholePuts: wholePuts === "refused" ? undefined : wholePuts,
    emptyPuts,
    bytesPerSecond: link.bytesPerSecond(),
  });
}
