import { PushError } from "../errors.ts";
import type { ReadyBlob } from "../layers/prepare.ts";
import { prepareStreamedLayer } from "../layers/prepare-streamed.ts";
import type { DiffId } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image.ts";
import type { BlobTitle } from "../report/events.ts";
import type { SavedSource } from "../source/source.ts";
import type { SavedLayer } from "../source/stream/saved-stream.ts";
import { type Job, reportBlob, reportReading } from "./job.ts";
import type { PlannedLayer } from "./plan.ts";

/** Layers that the save must deliver. Each is removed when it is ready. */
export type WantedLayers = Map<DiffId, { readonly layer: PlannedLayer } & PromiseWithResolvers<ReadyBlob>>;

export type SavedImage = {
  readonly config: ImageConfig;
  /** Whether a layer was skipped because of its name, which may be wrong. */
  readonly hasSkipped: boolean;
};

export type Reading = {
  readonly source: SavedSource;
  readonly job: Job;
  readonly wanted: WantedLayers;
  /** Whether to skip layers that their names identify as unwanted. */
  readonly trustsNames: boolean;
};

/**
 * Reads a save, and prepares the wanted layers as they arrive. Stops reading as soon as all are ready. Throws the errors of
 * reading and compressing.
 */
export async function readSave({ source, job, wanted, trustsNames }: Reading): Promise<SavedImage> {
  let config: ImageConfig | undefined;
  let hasSkipped = false;
  const { name } = source.origin;
  const progress = reportReading("save", name, job);
  const { sizeBytes } = source.image;
  const onProgress = (doneBytes: number) =>
    progress.moved(doneBytes, sizeBytes && Math.max(doneBytes, sizeBytes));
  for await (const part of source.read(onProgress)) {
    if (part.kind === "config") config = part.config;
    else if (wanted.size > 0) {
      const claimed = trustsNames ? part.claimedDiffId : undefined;
      if (claimed === undefined || wanted.has(claimed))
        await prepareWanted(part, claimed && wanted.get(claimed)?.layer, wanted, job);
      else hasSkipped = true;
    }
    if (config !== undefined && wanted.size === 0) break;
  }
  progress.end();
  if (config?.diffIds.join() !== source.image.diffIds.join()) {
    throw new PushError("IMAGE_INVALID", `The engine's image "${name}" was replaced while it was saved.`, {
      hint: "Run the same command again.",
    });
  }
  return { config, hasSkipped };
}

/** Prepares a layer as it arrives, unless it turns out to be unwanted. */
async function prepareWanted(
  saved: SavedLayer,
  claimed: PlannedLayer | undefined,
  wanted: WantedLayers,
  job: Job,
): Promise<void> {
  const name: BlobTitle = claimed ?? { id: saved.path, title: "a layer" };
  const totalBytes = saved.sizeBytes;
  const state = job.pool === undefined ? "verifying" : "compressing";
  const made = await prepareStreamedLayer(saved, (each) => wanted.has(each), {
    ...job,
    onProgress: (doneBytes) => reportBlob(job, name, { state, doneBytes, totalBytes }),
  });
  const found = made?.diffId && wanted.get(made.diffId);
  if (made?.diffId === undefined || !found) return reportBlob(job, name, { state: "unneeded" });
  const { blob, origin, diffId } = made;
  const how = origin === "source" ? "verified" : "compressed";
  const { size: sizeBytes } = blob.descriptor;
  reportBlob(job, { id: name.id, title: found.layer.title }, { state: "ready", how, totalBytes, sizeBytes });
  found.resolve({ blob, origin });
  wanted.delete(diffId);
}
