import { PushError } from "../errors.ts";
import { prepareStreamedLayer, type StreamedLayer } from "../layers/prepare-streamed.ts";
import { compressionOfType, type Descriptor, MEDIA_TYPE } from "../oci/descriptor.ts";
import { type DiffId, type Digest, shortDigest } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image.ts";
import type { Report, Task } from "../report/events.ts";
import { blobPath } from "../source/files/image-parts.ts";
import type { EngineSource } from "../source/open.ts";
import type { ResolvedImage } from "../source/stream/resolve-image.ts";
import type { SavedLayer } from "../source/stream/saved-stream.ts";
import { findPackedLayer } from "../store/layers.ts";
import type { ImageLayer, MadeLayer, MakerOptions } from "./layer-maker.ts";

/** Layers that a save is to bring. Each is settled, and taken out, when it is ready. */
export type WantedLayers = Map<DiffId, ImageLayer & PromiseWithResolvers<MadeLayer>>;

/** Tells whether the registry has a blob, which then need not be read. */
export type IsAtRegistry = (digest: Digest, name: string) => Promise<boolean>;

export type SavedImage = {
  readonly config: ImageConfig;
  readonly resolved: ResolvedImage | undefined;
  /** A layer was not read because of its name, which may be wrong. */
  readonly hasPassedOver: boolean;
};

type SaveOptions = MakerOptions & { readonly isAtRegistry: IsAtRegistry };

/** Asking for a smaller blob takes as long as writing it to the disk. */
const WORTH_ASKING_BYTES = 1024 * 1024;

/**
 * Has the engine save its image, and makes the wanted layers of it ready as they come. Layers that go up as they come are
 * passed over where the cache or the registry has them. Throws what reading and compressing throw.
 *
 * @param believesNames whether layers are passed over that are not wanted by their names
 */
export async function takeSavedLayers(
  source: EngineSource,
  wanted: WantedLayers,
  options: SaveOptions,
  { believesNames }: { readonly believesNames: boolean },
): Promise<SavedImage> {
  const { report } = options;
  const { image } = source;
  /** Ready, but which layers they are has to be told by the image's documents. By name in the archive. */
  const unnamed = new Map<string, MadeLayer>();
  let resolved: ResolvedImage | undefined;
  let hasPassedOver = false;

  function settle(diffId: DiffId | undefined, made: MadeLayer): void {
    if (diffId === undefined) return;
    wanted.get(diffId)?.resolve(made);
    wanted.delete(diffId);
  }

  async function takeIn(layer: SavedLayer): Promise<void> {
    const claimed = believesNames ? layer.claimedDiffId : undefined;
    if (wanted.size === 0) return;
    if (claimed !== undefined && !wanted.has(claimed)) {
      hasPassedOver = true;
      return;
    }
    const made = await makeReady(layer, claimed && wanted.get(claimed), wanted, options);
    if (made.kind !== "kept") return;
    const diffId = made.diffId ?? (resolved && layer.claimedDiffId);
    if (diffId === undefined) unnamed.set(layer.path, made.layer);
    settle(diffId, made.layer);
  }

  /** From here on it is known which blobs are the layers: those that have come by, and those to come. */
  async function nameLayers(found: ResolvedImage): Promise<void> {
    resolved = found;
    const { layers = [] } = found;
    progress.expect(layers.reduce((bytes, { size }) => bytes + Math.max(size, 0), 0));
    await Promise.all(
      layers.map(async ({ mediaType, digest, size }, i) => {
        const diffId = image.diffIds[i];
        const layer = diffId && wanted.get(diffId);
        if (layer === undefined) return;
        const compression = compressionOfType(mediaType);
        const made =
          unnamed.get(blobPath(digest)) ??
          (compression &&
            (await findElsewhere({ mediaType: MEDIA_TYPE.layer[compression], digest, size }, options)));
        if (made !== undefined) settle(diffId, made);
      }),
    );
  }

  const progress = saveProgress(source, report);
  const { config, layerPaths } = await source.save(
    { onLayer: takeIn, onImage: nameLayers, isDone: () => wanted.size === 0 },
    progress.moved,
  );
  progress.end();
  if (config.diffIds.join() !== image.diffIds.join()) {
    throw new PushError(
      "IMAGE_INVALID",
      `The engine's image "${source.description.name}" was replaced while it was saved.`,
      { hint: "Push again." },
    );
  }
  for (const [i, path] of layerPaths.entries()) {
    const made = unnamed.get(path);
    if (made !== undefined) settle(config.diffIds[i], made);
  }
  return { config, resolved, hasPassedOver };
}

/** A layer that comes, unless it turns out to be unwanted, or to be elsewhere already. */
async function makeReady(
  saved: SavedLayer,
  claimed: ImageLayer | undefined,
  wanted: WantedLayers,
  options: SaveOptions,
): Promise<StreamedLayer<MadeLayer>> {
  const { report, pool } = options;
  const { path, sizeBytes } = saved;
  const task: Task = {
    id: `prepare ${path}`,
    verb: pool === undefined ? "checking" : "compressing",
    subject: claimed?.name ?? "a layer",
    totalBytes: sizeBytes,
  };
  const made = await prepareStreamedLayer(saved, (diffId) => wanted.has(diffId), {
    ...options,
    onProgress: (doneBytes) => report({ type: "task-progress", task, doneBytes }),
    findElsewhere: async (descriptor) =>
      descriptor.size < WORTH_ASKING_BYTES ? undefined : findElsewhere(descriptor, options),
  });
  if (made.kind === "unwanted" || "present" in made.layer || made.layer.origin === "cache") {
    report({ type: "task-dropped", task });
    return made;
  }
  const { digest, size } = made.layer.blob.descriptor;
  const verb = made.layer.origin === "source" ? "checking" : task.verb;
  const found = made.diffId && wanted.get(made.diffId);
  const subject = (found ?? claimed)?.name ?? `layer ${shortDigest(digest)}`;
  report({ type: "task-finished", task: { ...task, verb, subject }, resultBytes: size });
  return made;
}

/** A blob that goes up as it is, where the cache or the registry has it. */
async function findElsewhere(
  descriptor: Descriptor,
  { cache, pool, isAtRegistry }: SaveOptions,
): Promise<MadeLayer | undefined> {
  const isPacked = descriptor.mediaType !== MEDIA_TYPE.layer.none;
  if (!isPacked && pool !== undefined) return undefined;
  const blob = await findPackedLayer(cache, descriptor.digest, pool !== undefined);
  if (blob !== undefined) return { blob, origin: "cache" };
  const isThere = await isAtRegistry(descriptor.digest, `layer ${shortDigest(descriptor.digest)}`);
  return isThere ? { present: descriptor } : undefined;
}

/** Tells how far a save is. How much there is to come is known from the image's documents, or never. */
function saveProgress({ image, description }: EngineSource, report: Report) {
  const task = { id: `save ${image.id}`, verb: "saving", subject: description.name } as const;
  let expectedBytes = image.sizeBytes;
  let savedBytes = 0;
  return {
    expect(bytes: number) {
      if (bytes > 0) expectedBytes = bytes;
    },
    moved(doneBytes: number) {
      savedBytes = doneBytes;
      const totalBytes = expectedBytes && Math.max(doneBytes, expectedBytes);
      report({ type: "task-progress", task: { ...task, totalBytes }, doneBytes });
    },
    end() {
      report({ type: "task-finished", task: { ...task, totalBytes: savedBytes }, resultBytes: savedBytes });
    },
  };
}
