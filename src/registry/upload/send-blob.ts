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

/** Halving leads from the largest blob to 64 KiB in fewer steps. */
const MAX_REFUSALS = 20;

export type SendOptions = TurnOptions & {
  /**
   * Called when the registry did not take the blob as it was sent, with the size of the bodies in which it starts
   * again.
   */
  readonly onRefused?: ((bodyBytes: number) => void) | undefined;
};

export type Sent = {
  readonly descriptor: Descriptor;
  readonly sentBytes: number;
  /** How many of the blob's bytes an earlier process had sent. */
  readonly resumedBytes: number;
};

/**
 * Uploads a blob: in one PUT if it fits a chunk, else in equal PATCHes and an empty PUT. Resumes what an interrupted
 * process began. If a body is refused for its size, the blob starts again in smaller chunks; if chunks are refused, in
 * one PUT. Chunks of a blob that still grows go up as its bytes come.
 *
 * @param turn the slot of `registry.sending` that the blob holds
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

/** Sends the rest of a blob's upload that was begun. */
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
  // Its failure reaches us through `slice`.
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
      // The same command resumes what was interrupted or broke off.
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

/** Notes what worked where something else was refused, and how fast it went. */
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
