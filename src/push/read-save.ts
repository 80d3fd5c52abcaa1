import { PushError } from "../errors.ts";
import { type ReadyBlob, readyFromCache } from "../layers/prepare.ts";
import { prepareStreamedLayer } from "../layers/prepare-streamed.ts";
import { compressionOfType, type Descriptor, MEDIA_TYPE } from "../oci/descriptor.ts";
import { blobPath, type DiffId, shortDigest } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image.ts";
import { askForBlob } from "../registry/find-blob.ts";
import type { BlobTitle } from "../report/events.ts";
import type { ResolvedImage } from "../source/resolve-image.ts";
import type { StreamSource } from "../source/source.ts";
import type { SavedLayer } from "../source/stream/saved-stream.ts";
import { findPackedLayer } from "../store/layers.ts";
import { callOf, type Job, reportBlob } from "./job.ts";
import type { Plan, PlannedLayer } from "./plan.ts";
import { bringReady, present } from "./send.ts";
import type { Brought } from "./target.ts";

/** A prepared layer, or one that the registry has. */
export type Made = { readonly ready: ReadyBlob } | { readonly there: Brought };

/** Layers that the save must deliver. Each is removed when it is ready. */
export type WantedLayers = Map<DiffId, { readonly layer: PlannedLayer } & PromiseWithResolvers<Made>>;

export type SavedImage = {
  readonly config: ImageConfig;
  readonly resolved: ResolvedImage | undefined;
  /** Whether a layer was skipped because of its name, which may be wrong. */
  readonly hasPassedOver: boolean;
};

export type Reading = {
  readonly source: StreamSource;
  readonly plan: Plan;
  readonly job: Job;
  readonly wanted: WantedLayers;
  /** Whether to skip layers that their names identify as unwanted. */
  readonly believesNames: boolean;
  /** Whether to skip blobs that the registry reports as present. */
  readonly asksRegistry: boolean;
};

/** For a smaller blob, a HEAD takes as long as writing it. */
const WORTH_ASKING_BYTES = 1024 * 1024;

/**
 * Reads a save, and makes the wanted layers ready as they come. Layers of a containerd store come compressed and go up as
 * they are: they are sent at once, and those that the cache or the registry has are not read. Reading ends as soon as
 * nothing more is wanted. Throws what reading and compressing throw.
 */
export async function readSave(reading: Reading): Promise<SavedImage> {
  const { source, wanted, job } = reading;
  /** Prepared layers whose diffID is unknown, by archive path. */
  const unnamed = new Map<string, Made>();
  let resolved: ResolvedImage | undefined;
  let config: ImageConfig | undefined;
  let hasPassedOver = false;
  const settle = (diffId: DiffId | undefined, made: Made) => {
    if (diffId === undefined) return;
    wanted.get(diffId)?.resolve(made);
    wanted.delete(diffId);
  };

  const progress = saveProgress(source, job);
  for await (const part of source.read(progress.moved)) {
    if (part.kind === "image") {
      resolved = part.image;
      progress.expect(resolved);
      config = resolved.config;
      for (const [diffId, made] of await findNamed(resolved, unnamed, reading)) settle(diffId, made);
    } else if (part.kind === "manifest") {
      config = part.config;
      for (const [i, path] of part.layerPaths.entries()) {
        const made = unnamed.get(path);
        if (made !== undefined) settle(config.diffIds[i], made);
      }
    } else if (wanted.size > 0) {
      const claimed = reading.believesNames ? part.claimedDiffId : undefined;
      if (claimed !== undefined && !wanted.has(claimed)) {
        hasPassedOver = true;
        continue;
      }
      const made = await takeIn(part, claimed && wanted.get(claimed)?.layer, reading);
      if (made === undefined) continue;
      const diffId = made.diffId ?? (resolved && part.claimedDiffId);
      if (diffId === undefined) unnamed.set(part.path, made.layer);
      settle(diffId, made.layer);
    }
    if (resolved !== undefined && wanted.size === 0) break;
  }
  progress.end();
  if (config?.diffIds.join() !== source.image.diffIds.join()) {
    throw new PushError(
      "IMAGE_INVALID",
      `The engine's image "${source.origin.name}" was replaced while it was saved.`,
      { hint: "Push again." },
    );
  }
  return { config, resolved, hasPassedOver };
}

/** Returns wanted layers that are available, once the documents name the blobs. */
async function findNamed(
  { layers = [] }: ResolvedImage,
  unnamed: ReadonlyMap<string, Made>,
  reading: Reading,
): Promise<(readonly [DiffId, Made])[]> {
  const found = layers.map(async ({ mediaType, digest, size }, i) => {
    const diffId = reading.source.image.diffIds[i];
    if (diffId === undefined) return [];
    const wanted = reading.wanted.get(diffId);
    if (wanted === undefined) return [];
    const compression = size < 0 ? undefined : compressionOfType(mediaType);
    const made =
      unnamed.get(blobPath(digest)) ??
      (compression &&
        (await findElsewhere(
          { mediaType: MEDIA_TYPE.layer[compression], digest, size },
          wanted.layer,
          reading,
        )));
    return made === undefined ? [] : [[diffId, made] as const];
  });
  return (await Promise.all(found)).flat();
}

/** Prepares a layer as it arrives. Undefined if it is unwanted. */
async function takeIn(
  saved: SavedLayer,
  claimed: PlannedLayer | undefined,
  reading: Reading,
): Promise<{ readonly diffId: DiffId | undefined; readonly layer: Made } | undefined> {
  const { plan, job, wanted } = reading;
  const name: BlobTitle = claimed ?? { id: saved.path, title: "a layer" };
  const totalBytes = saved.sizeBytes;
  const state = job.pool === undefined ? "verifying" : "compressing";
  const made = await prepareStreamedLayer<Made>(saved, (diffId) => wanted.has(diffId), {
    ...job,
    onProgress: (doneBytes) => reportBlob(job, name, { state, doneBytes, totalBytes }),
    findElsewhere: async (descriptor) =>
      descriptor.size < WORTH_ASKING_BYTES
        ? undefined
        : findElsewhere(descriptor, claimed ?? titleOf(descriptor), reading),
  });
  if (made.kind !== "kept") {
    reportBlob(job, name, { state: "unneeded" });
    return made.kind === "unwanted" ? undefined : { diffId: undefined, layer: made.found };
  }
  const ready = made.layer;
  const { descriptor } = ready.blob;
  const found = (made.diffId && wanted.get(made.diffId)?.layer) ?? claimed;
  const shown = { id: name.id, title: (found ?? titleOf(descriptor)).title };
  const how = ready.origin === "source" ? "verified" : "compressed";
  reportBlob(job, shown, { state: "ready", how, totalBytes, sizeBytes: descriptor.size });
  // Most likely part of the image: send it before the documents confirm that. Blobs that are made again have senders.
  if (ready.origin === "source" && reading.asksRegistry)
    bringReady(ready, found ?? titleOf(descriptor), plan.target, job).catch(() => undefined);
  return { diffId: made.diffId, layer: { ready } };
}

/** Titles a blob whose layer is unknown. */
function titleOf({ digest }: Descriptor): BlobTitle {
  return { id: digest, title: `layer ${shortDigest(digest)}` };
}

/** Finds a blob that is uploaded unchanged in the cache, else at the registry. */
async function findElsewhere(
  descriptor: Descriptor,
  name: BlobTitle,
  { plan, job, asksRegistry }: Reading,
): Promise<Made | undefined> {
  const compresses = job.pool !== undefined;
  if (compresses && descriptor.mediaType === MEDIA_TYPE.layer.none) return undefined;
  const blob = await findPackedLayer(job.cache, descriptor.digest, compresses);
  if (blob !== undefined) return { ready: readyFromCache(blob, name.title, job.signal) };
  if (
    !asksRegistry ||
    (await askForBlob(plan.target.at, descriptor.digest, callOf(job, name.title))) === undefined
  )
    return undefined;
  return { there: present(descriptor, name, job) };
}

/** Reports a save's progress. The total comes from the documents or the engine, or is unknown. */
function saveProgress({ origin, image }: StreamSource, { report }: Job) {
  let expectedBytes = image.sizeBytes;
  let savedBytes = 0;
  const tell = (totalBytes: number | undefined, isDone: boolean) =>
    report({ type: "reading", how: "save", name: origin.name, doneBytes: savedBytes, totalBytes, isDone });
  return {
    expect({ layers = [] }: ResolvedImage) {
      const bytes = layers.reduce((sum, { size }) => sum + Math.max(size, 0), 0);
      if (bytes > 0) expectedBytes = bytes;
    },
    moved(doneBytes: number) {
      savedBytes = doneBytes;
      tell(expectedBytes && Math.max(doneBytes, expectedBytes), false);
    },
    end: () => tell(savedBytes, true),
  };
}
