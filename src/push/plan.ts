import { type ReadyBlob, readyAsClaimed, readyFromCache } from "../layers/prepare.ts";
import type { Descriptor, RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, shortDigest } from "../oci/digest.ts";
import type { Layer } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";
import { askForBlob } from "../registry/find-blob.ts";
import { type KnownImage, readKnownImages } from "../registry/known-images.ts";
import type { BlobTitle } from "../report/events.ts";
import type { Source } from "../source/open.ts";
import { type ResolvedImage, resolveImage } from "../source/resolve-image.ts";
import { findCachedDocument } from "../store/documents.ts";
import { findCachedLayer, findPackedLayer } from "../store/layers.ts";
import { callOf, type Job, reportBlob } from "./job.ts";
import type { BringOptions } from "./send.ts";
import type { Target } from "./target.ts";

/** The action that is planned for a blob. */
export type Step =
  /** Nothing: the repository has it. */
  | { readonly step: "present"; readonly descriptor: Descriptor }
  /** Mount it from another repository of the registry. If that fails, make it. */
  | { readonly step: "mount"; readonly descriptor: Descriptor; readonly from: string }
  /** It is ready, and the registry lacks it. */
  | ({ readonly step: "send"; readonly ready: ReadyBlob } & Pick<BringOptions, "answer">)
  /** It has to be compressed, verified, or read from a stream first. */
  | { readonly step: "make" };

/** A blob of the image. Its entry settles when the cache and the registry have answered. */
export type PlannedBlob = BlobTitle & { readonly settled: Promise<Step> };

/** A layer. Equal layers share one entry. */
export type PlannedLayer = PlannedBlob & {
  readonly diffId: DiffId;
  /** The stored layer. Undefined for streams. */
  readonly layer: Layer | undefined;
};

export type Plan = {
  readonly source: Source;
  readonly target: Target;
  /** Its step is `make` if only the saved archive has the config. */
  readonly config: PlannedBlob;
  /** The distinct layers. */
  readonly layers: readonly PlannedLayer[];
  /** All layers, base first, with repeats. */
  readonly order: readonly PlannedLayer[];
  /** An engine's image, resolved from cached documents. */
  readonly resolved: Promise<ResolvedImage | undefined>;
  /**
   * The images of `cacheFrom`, read when a layer is missing in the cache. No other image is believed: its manifest may pair
   * a diffID with any blob.
   */
  knownImages(): Promise<KnownImage[]>;
};

/** Finds out, blob by blob, what has to be done. Work on a blob can begin as soon as its own entry has settled. */
export function startPlan(source: Source, target: Target, job: Job): Plan {
  let known: Promise<KnownImage[]> | undefined;
  const { compression, cacheFrom } = job.options;
  const context = {
    source,
    target,
    resolved:
      source.access === "any"
        ? Promise.resolve(undefined)
        : resolveImage(source.image, (digest) => findCachedDocument(job.cache, digest)),
    knownImages: () => {
      known ??= readKnownImages(target.at, cacheFrom, compression.kind, callOf(job), (image, reason) =>
        job.report({
          type: "notice",
          code: "CACHE_FROM_MISSING",
          image: `${image.repository}:${image.tag}`,
          reason,
        }),
      );
      return known;
    },
  };
  // A failure to resolve the image shows at its blobs.
  reportLeftOut(source, context.resolved, job).catch(() => undefined);
  const parts = source.access === "any" ? source.image.layers : source.image.diffIds;
  const distinct = new Map<string, PlannedLayer>();
  const order = parts.map((part, i) => {
    const layer = typeof part === "string" ? undefined : part;
    const diffId = typeof part === "string" ? part : part.diffId;
    const id = layer === undefined ? diffId : identityOf(layer);
    const title = `layer ${i + 1}/${parts.length} ${shortDigest(diffId)}`;
    const planned = distinct.get(id) ?? planLayer({ id, title, diffId, layer }, context, job);
    distinct.set(id, planned);
    return planned;
  });
  const layers = [...distinct.values()];
  return { ...context, layers, order, config: planConfig(layers, context, job) };
}

async function reportLeftOut(source: Source, resolved: Plan["resolved"], job: Job): Promise<void> {
  if (source.access === "any") return reportReduced(source.leftOut, source.image.platform, job);
  const image = await resolved;
  reportReduced(image?.leftOut, image?.config.platform, job);
}

/** Reports the index entries that are not pushed. */
export function reportReduced(
  leftOut: LeftOut | undefined,
  platform: string | undefined,
  { report }: Job,
): void {
  if (leftOut !== undefined) report({ type: "notice", code: "INDEX_REDUCED", platform, ...leftOut });
}

type Context = Pick<Plan, "source" | "target" | "resolved" | "knownImages">;

/** Raw layers with the same diffID are the same blob. A layer can also be stored in several compressed forms. */
function identityOf({ diffId, compression, claimedDigest, name }: Layer): string {
  return compression === "none" ? diffId : `${diffId} ${claimedDigest ?? name}`;
}

function track<T extends object>(blob: T, settled: Promise<Step>) {
  // May reject before it is awaited. That must not count as unhandled.
  settled.catch(() => undefined);
  return { ...blob, settled };
}

type Part = BlobTitle & Pick<PlannedLayer, "diffId" | "layer">;

function planLayer(part: Part, context: Context, job: Job): PlannedLayer {
  return track(part, settleLayer(part, context, job));
}

async function settleLayer(part: Part, context: Context, job: Job): Promise<Step> {
  const { layer, diffId } = part;
  if (layer !== undefined && (layer.compression !== "none" || job.pool === undefined)) {
    const ready = readyAsClaimed(layer, job.signal);
    return ready === undefined ? { step: "make" } : settleReady(ready, part, context, job);
  }
  const cached = await findCached(diffId, context, job);
  if (cached !== undefined) {
    reportBlob(job, part, cachedState(cached));
    return settleReady(readyFromCache(cached, part.title, job.signal), part, context, job);
  }
  const image = (await context.knownImages()).find(({ layers }) => layers.has(diffId));
  const descriptor = image?.layers.get(diffId);
  if (image === undefined || descriptor === undefined) return { step: "make" };
  return (await settleKnown(descriptor, image.repository, part, context, job)) ?? { step: "make" };
}

export function cachedState({ descriptor: { size } }: RegistryBlob) {
  return { state: "ready", how: "cached", totalBytes: size, sizeBytes: size } as const;
}

/** Finds a layer in the cache, in the engine's form or compressed by an earlier push. */
export async function findCached(
  diffId: DiffId,
  { source, resolved }: Pick<Plan, "source" | "resolved">,
  { cache, pool }: Job,
): Promise<RegistryBlob | undefined> {
  const { layers } = (await resolved) ?? {};
  const place = source.access === "once" ? source.image.diffIds.indexOf(diffId) : -1;
  const entry = layers?.[place];
  const packed = entry && (await findPackedLayer(cache, entry.digest, pool !== undefined));
  return packed ?? findCachedLayer(cache, diffId, pool?.form);
}

async function settleReady(
  ready: ReadyBlob,
  { title }: BlobTitle,
  { target }: Context,
  job: Job,
): Promise<Step> {
  const { descriptor } = ready.blob;
  const found = await askForBlob(target.at, descriptor.digest, callOf(job, title));
  return found?.sizeBytes === descriptor.size
    ? { step: "present", descriptor }
    : { step: "send", ready, answer: { found } };
}

/** Finds a known layer in the target, or says where to mount it from. Undefined if there is no such place. */
async function settleKnown(
  descriptor: Descriptor,
  from: string,
  { title }: BlobTitle,
  { target }: Context,
  job: Job,
): Promise<Step | undefined> {
  // Registries may report a wrong size for mounted blobs. Only the status counts.
  const found = await askForBlob(target.at, descriptor.digest, callOf(job, title));
  if (found !== undefined) return { step: "present", descriptor };
  return from === target.at.name ? undefined : { step: "mount", descriptor, from };
}

function planConfig(layers: readonly PlannedLayer[], context: Context, job: Job): PlannedBlob {
  const { source } = context;
  const name = source.access === "any" ? configName(source.image.config) : { id: "config", title: "config" };
  return track(name, settleConfig(layers, context, job));
}

async function settleConfig(layers: readonly PlannedLayer[], context: Context, job: Job): Promise<Step> {
  const blob = await findConfig(layers, context);
  if (blob === undefined) return { step: "make" };
  const ready = { blob, origin: "source" } as const;
  return settleReady(ready, configName(blob), context, job);
}

export function configName({ descriptor }: Pick<RegistryBlob, "descriptor">): BlobTitle {
  return { id: "config", title: `config ${shortDigest(descriptor.digest)}` };
}

/** Returns the config, or undefined if only the saved archive has it. */
export async function findConfig(
  layers: readonly PlannedLayer[],
  { source, resolved, knownImages }: Pick<Plan, "source" | "resolved" | "knownImages">,
): Promise<RegistryBlob | undefined> {
  if (source.access === "any") return source.image.config;
  const config = (await resolved)?.config;
  if (config !== undefined) return config.blob;
  const steps = await Promise.all(layers.map(({ settled }) => settled));
  if (steps.some(({ step }) => step === "make")) return undefined;
  // An engine's ID of an image may be the digest of a config or manifest that the registry has.
  const { id } = source.image;
  const image = (await knownImages()).find(({ digest, config }) =>
    [digest, config.descriptor.digest].includes(id),
  );
  return image?.config;
}
