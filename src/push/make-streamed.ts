import { PushError } from "../errors.ts";
import { isIntact, type ReadyBlob, readyFromCache } from "../layers/prepare.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, shortDigest } from "../oci/digest.ts";
import type { SavedSource } from "../source/source.ts";
import { storeDocuments } from "../store/documents.ts";
import { saveName } from "../store/file-names.ts";
import { dropCachedLayer, findCachedLayer } from "../store/layers.ts";
import { type Job, reportBlob } from "./job.ts";
import type { Plan, PlannedLayer } from "./plan.ts";
import { readSave, type WantedLayers } from "./read-save.ts";
import { cachedState, findSavedConfig } from "./settle.ts";

/** The engine's saves of one image. They run one at a time; usually there is only one. */
export type Saves = {
  readonly source: SavedSource;
  readonly job: Job;
  readonly config: Promise<RegistryBlob>;
  /** Resolves when the first save has started. */
  readonly layers: Promise<ReadonlyMap<DiffId, Promise<ReadyBlob>>>;
  /** Resolves when the current save has ended or failed. */
  busy: Promise<unknown>;
  /** Layers to save again, and the save that will deliver them. */
  again: Map<DiffId, PlannedLayer>;
  next: Promise<ReadonlyMap<DiffId, Promise<ReadyBlob>>> | undefined;
};

/**
 * Starts the engine's save once the missing layers are known, unless nothing is missing.
 *
 * @param toMake the layers that the first save must deliver
 */
export function startSaves(
  source: SavedSource,
  plan: Plan,
  toMake: Promise<readonly PlannedLayer[]>,
  job: Job,
): Saves {
  const first = toMake.then(async (wanted) => {
    const steps = await Promise.all(plan.others.map(({ settled }) => settled));
    const isNeeded = wanted.length > 0 || steps.some(({ step }) => step === "make");
    return isNeeded ? startSave(source, job, wanted) : undefined;
  });
  const config = first.then((save) => {
    if (save === undefined) throw new Error("The config is known, and comes with no save.");
    return save.config;
  });
  const layers = first.then((save) => save?.layers ?? new Map());
  // They may never be awaited. A failure must not count as unhandled.
  for (const promise of [config, layers]) promise.catch(() => undefined);
  return {
    source,
    job,
    config,
    layers,
    busy: config.catch(() => undefined),
    again: new Map(),
    next: undefined,
  };
}

/** Waits for a layer from the save. Throws `IMAGE_INCOMPLETE` if it is missing. */
export async function makeStreamed(saves: Saves, layer: PlannedLayer): Promise<ReadyBlob> {
  const made = await (await saves.layers).get(layer.diffId);
  if (made === undefined) throw lacks(saves.source, layer.diffId);
  return made;
}

/** Saves the image again, once for all layers requested during the current save. */
export async function remakeStreamed(saves: Saves, layer: PlannedLayer): Promise<ReadyBlob> {
  const { job, source } = saves;
  const cached = await findCachedLayer(job.cache, layer.diffId, job.pool?.form);
  if (cached !== undefined) {
    if (await isIntact(cached, job.signal)) return readyFromCache(cached, layer.title, job.signal);
    await dropCachedLayer(job.cache, cached);
  }
  saves.again.set(layer.diffId, layer);
  saves.next ??= saves.busy.then(() => {
    const wanted = [...saves.again.values()];
    saves.again.clear();
    saves.next = undefined;
    const save = startSave(source, job, wanted);
    saves.busy = save.config.catch(() => undefined);
    return save.layers;
  });
  const made = await (await saves.next).get(layer.diffId);
  if (made === undefined) throw lacks(source, layer.diffId);
  return made;
}

type Save = {
  readonly config: Promise<RegistryBlob>;
  readonly layers: ReadonlyMap<DiffId, Promise<ReadyBlob>>;
};

function startSave(source: SavedSource, job: Job, layers: readonly PlannedLayer[]): Save {
  const wanted: WantedLayers = new Map(
    layers.map((layer) => [layer.diffId, { layer, ...Promise.withResolvers<ReadyBlob>() }]),
  );
  const made = new Map([...wanted].map(([diffId, { promise }]) => [diffId, promise]));
  const config = save(source, job, wanted).then(
    (blob) => {
      for (const [diffId, { reject }] of wanted) reject(lacks(source, diffId));
      return blob;
    },
    (error: unknown) => {
      for (const { reject } of wanted.values()) reject(error);
      throw error;
    },
  );
  // Each is awaited later. The first failure ends the push.
  for (const promise of [config, ...made.values()]) promise.catch(() => undefined);
  return { config, layers: made };
}

async function save(source: SavedSource, job: Job, wanted: WantedLayers): Promise<RegistryBlob> {
  const name = { id: "source", title: source.origin.name };
  const onWaiting = () => reportBlob(job, name, { state: "awaiting-compress" });
  using _lock = await job.locks.take(saveName(source.image.id), onWaiting);
  reportBlob(job, name, { state: "unneeded" });
  // Another push may have saved the image while this one waited.
  const before = await findSavedConfig(source.image, job);
  for (const [diffId, { layer, resolve }] of wanted) {
    const blob = await findCachedLayer(job.cache, diffId, job.pool?.form);
    if (blob === undefined) continue;
    reportBlob(job, layer, cachedState(blob));
    resolve(readyFromCache(blob, layer.title, job.signal));
    wanted.delete(diffId);
  }
  if (before !== undefined && wanted.size === 0) return before;

  let saved = await readSave({ source, job, wanted, trustsNames: true });
  // A layer skipped because of its name may be the missing one.
  if (wanted.size > 0 && saved.hasSkipped)
    saved = await readSave({ source, job, wanted, trustsNames: false });
  const { descriptor, content } = saved.config.blob;
  await storeDocuments(job.cache, new Map([[descriptor.digest, await content.bytes()]]));
  job.signal.throwIfAborted();
  return saved.config.blob;
}

function lacks(source: SavedSource, diffId: DiffId): PushError {
  return new PushError(
    "IMAGE_INCOMPLETE",
    `Cannot read "${source.origin.name}": ${source.engine.runtime} saved it without the layer ${shortDigest(diffId)}.`,
    {
      hint: "Run the same command again. If it fails again, the engine's copy is damaged: pull or build the image again.",
    },
  );
}
