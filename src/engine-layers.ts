import { configPointerName } from "./cache/file-names.ts";
import { PushError } from "./errors.ts";
import {
  type ImageLayer,
  type LayerMaker,
  layerName,
  type MadeLayers,
  type MakerOptions,
} from "./layer-maker.ts";
import { findCachedConfig, storeConfig } from "./layers/config-cache.ts";
import { dropCachedLayer, findCachedLayer } from "./layers/layer-cache.ts";
import { isSound, type PreparedLayer } from "./layers/prepare-layer.ts";
import { prepareStreamedLayer, type StreamedLayer } from "./layers/prepare-streamed.ts";
import type { RegistryBlob } from "./oci/descriptor.ts";
import { type DiffId, hexOf, shortDigest } from "./oci/digest.ts";
import type { KnownImage } from "./registry/known-layers.ts";
import type { Task } from "./report/event.ts";
import type { EngineSource } from "./source/open-source.ts";
import type { SavedLayer } from "./source/saved-stream.ts";

/**
 * Layers that an engine hands over one after another, in its own order, while it saves the image: each is compressed as it
 * comes, and those that are not wanted are passed over.
 */
export function engineLayerMaker(source: EngineSource, options: MakerOptions): LayerMaker {
  const { cache, locks, pool, signal, report } = options;
  const { image } = source;
  /** Until the save under way has ended, well or not. */
  let busy: Promise<unknown> = Promise.resolve();
  const again = new Set<ImageLayer>();
  let next: Promise<MadeLayers> | undefined;

  async function save(waiting: Map<DiffId, Waiting>, images: readonly KnownImage[]): Promise<RegistryBlob> {
    // An engine's ID of an image is the digest of its config, or, in newer ones, of its manifest.
    const known = images.find(({ digest, config }) =>
      [digest, config.descriptor.digest].some((each) => hexOf(each) === image.id),
    );
    if (known !== undefined && waiting.size === 0) return known.config;
    const findConfig = () => findCachedConfig(cache, image.id, image.diffIds);
    const before = waiting.size === 0 ? await findConfig() : undefined;
    if (before !== undefined) return before.blob;
    const onWaiting = () =>
      report({ type: "other-push-awaited", subject: source.description.name, work: "compress" });
    using _turn = await locks.take(configPointerName(image.id), onWaiting);
    const cached = await findConfig();
    for (const [diffId, { name, resolve }] of waiting) {
      const blob = await findCachedLayer(cache, diffId, pool?.form);
      if (blob === undefined) continue;
      report({ type: "layer-cached", subject: name, sizeBytes: blob.descriptor.size });
      resolve({ blob, origin: "cache" });
      waiting.delete(diffId);
    }
    if (cached !== undefined && waiting.size === 0) return cached.blob;

    let { config, hasPassedOver } = await saveOnce(waiting, true);
    // What was passed over may be what is missing: a name was not what it seemed.
    if (waiting.size > 0 && hasPassedOver) ({ config } = await saveOnce(waiting, false));
    await storeConfig(cache, image.id, config.blob);
    signal.throwIfAborted();
    return config.blob;
  }

  /** @param isBelieving whether layers are passed over that are others by their names */
  async function saveOnce(waiting: Map<DiffId, Waiting>, isBelieving: boolean) {
    /** What the archive has to tell at its end which layers they are, by name. */
    const unnamed = new Map<string, PreparedLayer>();
    const { name } = source.description;
    const task: Task = {
      id: `save ${image.id}`,
      verb: "saving",
      subject: name,
      totalBytes: image.sizeBytes,
    };
    let savedBytes = 0;
    let hasPassedOver = false;
    const { config, layerPaths } = await source.save(
      async (layer) => {
        if (waiting.size === 0) return;
        const claimed = isBelieving ? layer.claimedDiffId : undefined;
        if (claimed !== undefined && !waiting.has(claimed)) {
          hasPassedOver = true;
          return;
        }
        const made = await takeIn(layer, claimed, waiting);
        if (made.kind === "kept" && made.diffId === undefined) unnamed.set(layer.path, made.prepared);
      },
      (doneBytes) => {
        savedBytes = doneBytes;
        const totalBytes = Math.max(doneBytes, image.sizeBytes);
        report({ type: "task-progress", task: { ...task, totalBytes }, doneBytes });
      },
    );
    report({ type: "task-finished", task: { ...task, totalBytes: savedBytes }, resultBytes: savedBytes });
    if (config.diffIds.join() !== image.diffIds.join()) {
      throw new PushError("IMAGE_INVALID", `The engine's image "${name}" was replaced while it was saved.`, {
        hint: "Push again.",
      });
    }
    for (const [i, path] of layerPaths.entries()) {
      const diffId = config.diffIds[i];
      const prepared = unnamed.get(path);
      if (diffId === undefined || prepared === undefined) continue;
      waiting.get(diffId)?.resolve(prepared);
      waiting.delete(diffId);
    }
    return { config, hasPassedOver };
  }

  async function takeIn(
    layer: SavedLayer,
    claimed: DiffId | undefined,
    waiting: Map<DiffId, Waiting>,
  ): Promise<StreamedLayer> {
    const task: Task = {
      id: `prepare ${layer.path}`,
      verb: pool === undefined ? "checking" : "compressing",
      subject: (claimed && waiting.get(claimed)?.name) ?? "a layer",
      totalBytes: layer.sizeBytes,
    };
    const made = await prepareStreamedLayer(layer.path, layer.bytes, (diffId) => waiting.has(diffId), {
      ...options,
      onProgress: (doneBytes) => report({ type: "task-progress", task, doneBytes }),
    });
    if (made.kind === "unwanted") {
      report({ type: "task-dropped", task });
      return made;
    }
    const found = made.diffId && waiting.get(made.diffId);
    const { digest, size } = made.prepared.blob.descriptor;
    const verb = made.prepared.origin === "source" ? "checking" : task.verb;
    const subject = found?.name ?? `layer ${shortDigest(digest)}`;
    report({ type: "task-finished", task: { ...task, verb, subject }, resultBytes: size });
    if (made.diffId !== undefined) {
      found?.resolve(made.prepared);
      waiting.delete(made.diffId);
    }
    return made;
  }

  function make(wanted: readonly ImageLayer[], images: readonly KnownImage[]): MadeLayers {
    const waiting = new Map(
      wanted.map(({ diffId, name }) => [diffId, { name, ...Promise.withResolvers<PreparedLayer>() }]),
    );
    const layers = new Map([...waiting].map(([diffId, { promise }]) => [diffId, promise]));
    const config = save(waiting, images).then(
      (blob) => {
        for (const [diffId, { reject }] of waiting) reject(lacks(diffId));
        return blob;
      },
      (error: unknown) => {
        for (const { reject } of waiting.values()) reject(error);
        throw error;
      },
    );
    // Each is awaited in its turn, and the first that fails ends the push.
    for (const promise of [config, ...layers.values()]) promise.catch(() => undefined);
    busy = config.catch(() => undefined);
    return { config, layers };
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
      const wanted = [...again];
      again.clear();
      next = undefined;
      return make(wanted, []);
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
    make,
    async repair(layer) {
      const blob = await findCachedLayer(cache, layer.diffId, pool?.form);
      if (blob !== undefined && !(await isSound({ blob, origin: "cache" }, signal)))
        await dropCachedLayer(cache, blob);
      const prepared = await (await makeAgain(layer)).layers.get(layer.diffId);
      if (prepared === undefined) throw lacks(layer.diffId);
      return prepared;
    },
  };
}

type Waiting = { readonly name: string } & PromiseWithResolvers<PreparedLayer>;
