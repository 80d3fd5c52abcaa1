import type { PushCommand } from "../cli/invocation.ts";
import { startCompressPool } from "../layers/compress/pool.ts";
import type { PreparedLayer } from "../layers/prepare.ts";
import type { Descriptor, RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, type Digest, shortDigest } from "../oci/digest.ts";
import { type ImageName, type KnownImage, readKnownImages } from "../registry/known-images.ts";
import type { Registry } from "../registry/registry.ts";
import { cancelUpload, mountBlob } from "../registry/upload/session.ts";
import type { Report } from "../report/events.ts";
import type { Source } from "../source/open.ts";
import type { LayerCache } from "../store/layers.ts";
import type { Locks } from "../store/locks.ts";
import { engineLayerMaker } from "./engine-layers.ts";
import type { ImageLayer, MadeLayer, MadeLayers } from "./layer-maker.ts";
import { blobSender } from "./sender.ts";
import { storedLayerMaker } from "./stored-layers.ts";

export type BlobPusherOptions = {
  readonly command: PushCommand;
  readonly registry: Registry;
  readonly cache: LayerCache;
  readonly locks: Locks;
  readonly report: Report;
};

/** Brings the blobs of one image into a registry, and keeps count. */
export type BlobPusher = Disposable & {
  /** @returns the config's descriptor, then those of the layers, base first */
  pushImage(): readonly [Promise<Descriptor>, ...Promise<Descriptor>[]];
  /**
   * Uploads blobs that the registry was mistaken to have.
   *
   * @returns what they are now, in that order
   */
  sendAgain(digests: readonly Digest[]): Promise<Descriptor>[];
  /** What the registry said it has. It may be mistaken. */
  believed(): Digest[];
  readonly count: { readonly sentBytes: number; readonly presentBytes: number };
};

/** How a layer gets into the registry. */
type Plan = {
  /** Those of which the registry has said that they are there. */
  readonly known: ReadonlyMap<DiffId, Descriptor>;
  readonly prepared: ReadonlyMap<DiffId, Promise<MadeLayer>>;
  readonly config: MadeLayers["config"];
};

/**
 * A layer that is in the cache, or that the registry has already in some image, is not compressed again. The others
 * are, and upload as they are ready. Equal layers are prepared and uploaded once, and stand in the manifest as often as
 * in the image.
 */
export function startBlobPusher(source: Source, options: BlobPusherOptions): BlobPusher {
  const { command, registry, cache, locks, report } = options;
  const { compression } = command;
  const pool = compression.kind === "none" ? undefined : startCompressPool(compression);
  const sender = blobSender({ command, registry, locks, report });
  const makerOptions = { cache, locks, pool, signal: registry.signal, report };
  const maker =
    source.kind === "stored"
      ? storedLayerMaker(source.image, makerOptions)
      : engineLayerMaker(source, {
          ...makerOptions,
          isAtRegistry: async (digest, name) => (await sender.ask(digest, name)) !== undefined,
        });

  async function planLayers(wanted: readonly ImageLayer[]): Promise<Plan> {
    const blobs = await Promise.all(wanted.map((layer) => maker.findCached(layer)));
    const cached = new Map<DiffId, Promise<MadeLayer>>();
    for (const [i, { diffId, name }] of wanted.entries()) {
      const blob = blobs[i];
      if (blob === undefined) continue;
      report({ type: "layer-cached", subject: name, sizeBytes: blob.descriptor.size });
      cached.set(diffId, Promise.resolve({ blob, origin: "cache" }));
    }
    const missing = wanted.filter(({ diffId }) => !cached.has(diffId));
    const images =
      missing.length === 0 ? [] : await readKnownImages(registry, cacheImages(command), compression.kind);
    const known = await findKnown(missing, images);
    const made = maker.make(
      missing.filter(({ diffId }) => !known.has(diffId)),
      images,
    );
    return { known, prepared: new Map([...cached, ...made.layers]), config: made.config };
  }

  /** The layers that the registry has, compressed as this push would. */
  async function findKnown(
    wanted: readonly ImageLayer[],
    images: readonly KnownImage[],
  ): Promise<Map<DiffId, Descriptor>> {
    const found = new Map<DiffId, Descriptor>();
    await Promise.all(
      wanted.map(async (layer) => {
        const image = images.find(({ layers }) => layers.has(layer.diffId));
        const descriptor = image?.layers.get(layer.diffId);
        if (image === undefined || descriptor === undefined) return;
        if (await isReachable(layer, descriptor, image.repository)) found.set(layer.diffId, descriptor);
      }),
    );
    return found;
  }

  /** A blob that the registry or the cache was mistaken to have. */
  async function remake(layer: ImageLayer): Promise<RegistryBlob> {
    const made = await maker.repair(layer);
    if (!("present" in made)) return made.blob;
    throw new Error(`The registry says again that it has ${made.present.digest}.`);
  }

  async function isReachable(
    layer: ImageLayer,
    descriptor: Descriptor,
    repository: string,
  ): Promise<boolean> {
    const obtain = () => remake(layer);
    if (await sender.isThere(descriptor, layer.name, obtain)) return true;
    if (repository === registry.repository) return false;
    const answer = await mountBlob(registry, descriptor.digest, repository);
    if (answer === "mounted") sender.believe({ descriptor, name: layer.name, obtain }, repository);
    else if (answer !== undefined) await cancelUpload(registry, answer);
    return answer === "mounted";
  }

  async function pushLayer(layer: ImageLayer, plan: Promise<Plan>): Promise<Descriptor> {
    if (layer.check !== undefined) {
      const prepared = await layer.check();
      return sender.bring(prepared, layer.name, async () => prepared.blob);
    }
    const { known, prepared } = await plan;
    const there = known.get(layer.diffId);
    if (there !== undefined) return there;
    const ready = await prepared.get(layer.diffId);
    if (ready === undefined) throw new Error(`Nobody makes the layer ${layer.diffId}.`);
    if ("present" in ready) {
      return sender.believe({ descriptor: ready.present, name: layer.name, obtain: () => remake(layer) });
    }
    return sender.bring(ready, layer.name, () => remake(layer));
  }

  async function pushConfig(plan: Promise<Plan>): Promise<Descriptor> {
    const prepared: PreparedLayer = { blob: maker.config ?? (await (await plan).config), origin: "source" };
    const name = `config ${shortDigest(prepared.blob.descriptor.digest)}`;
    // Whoever may not push learns it from a few bytes.
    return sender.bring(prepared, name, async () => prepared.blob, Number.POSITIVE_INFINITY);
  }

  return {
    pushImage() {
      const different = new Map<string, ImageLayer>();
      for (const layer of maker.layers) {
        if (!different.has(layer.identity)) different.set(layer.identity, layer);
      }
      const plan = planLayers([...different.values()].filter(({ check }) => check === undefined));
      const config = pushConfig(plan);
      const pushed = new Map([...different].map(([identity, layer]) => [identity, pushLayer(layer, plan)]));
      const descriptors = maker.layers.map(({ identity }) => pushed.get(identity) as Promise<Descriptor>);
      return [config, ...descriptors];
    },
    sendAgain: (digests) => digests.map((digest) => sender.sendAgain(digest)),
    believed: sender.believed,
    count: sender.count,
    [Symbol.dispose]: () => pool?.[Symbol.dispose](),
  };
}

/** Where the image's layers may be already: in an earlier one of the same name, or in what the user names. */
function cacheImages({ target, cacheFrom }: PushCommand): ImageName[] {
  const { repository, tag } = target;
  const images = [{ repository, tag }, ...cacheFrom];
  return tag === "latest" ? images : [...images, { repository, tag: "latest" }];
}
