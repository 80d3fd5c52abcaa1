import { PushError } from "../errors.ts";
import { isSound } from "../layers/prepare.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, shortDigest } from "../oci/digest.ts";
import type { KnownImage } from "../registry/known-images.ts";
import type { EngineSource } from "../source/open.ts";
import { type ResolvedImage, resolveImage } from "../source/stream/resolve-image.ts";
import { findCachedDocument, storeDocuments } from "../store/documents.ts";
import { saveName } from "../store/file-names.ts";
import { dropCachedLayer, findCachedLayer, findPackedLayer } from "../store/layers.ts";
import {
  type ImageLayer,
  type LayerMaker,
  layerName,
  type MadeLayer,
  type MadeLayers,
  type MakerOptions,
} from "./layer-maker.ts";
import { type IsAtRegistry, type SavedImage, takeSavedLayers, type WantedLayers } from "./saved-layers.ts";

export type EngineMakerOptions = MakerOptions & { readonly isAtRegistry: IsAtRegistry };

/**
 * Makes the layers of an engine's image from what the engine saves, which comes once and in an order of its own. An image
 * whose documents an earlier push kept, and whose layers are all in the cache or at the registry, is not saved again.
 */
export function engineLayerMaker(source: EngineSource, options: EngineMakerOptions): LayerMaker {
  const { cache, locks, pool, signal, report } = options;
  const { image } = source;
  /** Until the save under way has ended, well or not. */
  let busy: Promise<unknown> = Promise.resolve();
  const again = new Set<ImageLayer>();
  let next: Promise<MadeLayers> | undefined;
  let resolved = resolveFromCache();

  async function resolveFromCache(): Promise<ResolvedImage | undefined> {
    return announce(await resolveImage(image, (digest) => findCachedDocument(cache, digest)));
  }

  function announce(found: ResolvedImage | undefined): ResolvedImage | undefined {
    if (found?.leftOut !== undefined)
      report({ type: "index-reduced", platform: found.config.platform, ...found.leftOut });
    return found;
  }

  /** A layer that is in the cache as the engine has it, or as an earlier push compressed it. */
  async function findCached(diffId: DiffId): Promise<RegistryBlob | undefined> {
    const { layers } = (await resolved) ?? {};
    const entry = layers?.[image.diffIds.indexOf(diffId)];
    const packed = entry && (await findPackedLayer(cache, entry.digest, pool !== undefined));
    return packed ?? findCachedLayer(cache, diffId, pool?.form);
  }

  async function save(wanted: WantedLayers, images: readonly KnownImage[]): Promise<RegistryBlob> {
    const known = images.find(({ digest, config }) => [digest, config.descriptor.digest].includes(image.id));
    if (known !== undefined && wanted.size === 0) return known.config;
    const before = await resolved;
    if (before !== undefined && wanted.size === 0) return before.config.blob;
    const onWaiting = () =>
      report({ type: "other-push-awaited", subject: source.description.name, work: "compress" });
    using _turn = await locks.take(saveName(image.id), onWaiting);
    if (before === undefined) resolved = resolveFromCache();
    const current = await resolved;
    for (const [diffId, { name, resolve }] of wanted) {
      const blob = await findCached(diffId);
      if (blob === undefined) continue;
      report({ type: "layer-cached", subject: name, sizeBytes: blob.descriptor.size });
      resolve({ blob, origin: "cache" });
      wanted.delete(diffId);
    }
    if (current !== undefined && wanted.size === 0) return current.config.blob;

    let saved = await takeSavedLayers(source, wanted, options, { believesNames: true });
    // What was passed over may be what is missing: a name was not what it seemed.
    if (wanted.size > 0 && saved.hasPassedOver)
      saved = await takeSavedLayers(source, wanted, options, { believesNames: false });
    await keep(saved, current);
    signal.throwIfAborted();
    return saved.config.blob;
  }

  async function keep(saved: SavedImage, before: ResolvedImage | undefined): Promise<void> {
    if (saved.resolved === undefined || before !== undefined) return;
    await storeDocuments(cache, saved.resolved.documents);
    resolved = Promise.resolve(announce(saved.resolved));
  }

  function make(layers: readonly ImageLayer[], images: readonly KnownImage[]): MadeLayers {
    const wanted: WantedLayers = new Map(
      layers.map((layer) => [layer.diffId, { ...layer, ...Promise.withResolvers<MadeLayer>() }]),
    );
    const made = new Map([...wanted].map(([diffId, { promise }]) => [diffId, promise]));
    const config = save(wanted, images).then(
      (blob) => {
        for (const [diffId, { reject }] of wanted) reject(lacks(diffId));
        return blob;
      },
      (error: unknown) => {
        for (const { reject } of wanted.values()) reject(error);
        throw error;
      },
    );
    // Each is awaited in its turn, and the first that fails ends the push.
    for (const promise of [config, ...made.values()]) promise.catch(() => undefined);
    busy = config.catch(() => undefined);
    return { config, layers: made };
  }

  function lacks(diffId: DiffId): PushError {
    return new PushError(
      "IMAGE_INVALID",
      `What docker saved of "${source.description.name}" lacks the layer ${shortDigest(diffId)}.`,
      {
        hint: "Push again. If that does not help, the engine's copy is damaged: pull or build the image again.",
      },
    );
  }

  /** Has the engine save the image once for all layers that are asked for while it is busy with an earlier save. */
  function makeAgain(layer: ImageLayer): Promise<MadeLayers> {
    again.add(layer);
    next ??= busy.then(() => {
      const layers = [...again];
      again.clear();
      next = undefined;
      return make(layers, []);
    });
    return next;
  }

  return {
    config: undefined,
    layers: image.diffIds.map((diffId, i) => ({
      diffId,
      name: layerName(diffId, i, image.diffIds.length),
      identity: diffId,
    })),
    findCached: ({ diffId }) => findCached(diffId),
    make,
    async repair(layer) {
      const blob = await findCached(layer.diffId);
      if (blob !== undefined && !(await isSound({ blob, origin: "cache" }, signal)))
        await dropCachedLayer(cache, blob);
      const made = await (await makeAgain(layer)).layers.get(layer.diffId);
      if (made === undefined) throw lacks(layer.diffId);
      return made;
    },
  };
}
