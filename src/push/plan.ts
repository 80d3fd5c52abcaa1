import { guardBlob } from "../layers/guard.ts";
import { type ReadyBlob, readyAsClaimed, readyFromCache } from "../layers/prepare.ts";
import { unpackLayer } from "../layers/unpack.ts";
import { type Artifact, type Content, type Index, identityOf, type StoredBlob } from "../oci/content.ts";
import type { Descriptor, RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, shortDigest } from "../oci/digest.ts";
import type { Image, Layer } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";
import { askForBlob } from "../registry/find-blob.ts";
import { type KnownImage, readKnownImages } from "../registry/known-images.ts";
import type { BlobTitle } from "../report/events.ts";
import type { Attached } from "../source/attached.ts";
import type { Source, StreamSource } from "../source/open.ts";
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

/** A blob of what is pushed. Its entry settles when the cache and the registry have answered. */
export type PlannedBlob = BlobTitle & {
  readonly settled: Promise<Step>;
  /** Set if it is ready from the beginning, and is not made. */
  readonly stored: StoredBlob | undefined;
};

/** A layer. Equal layers share one entry. */
export type PlannedLayer = PlannedBlob & {
  readonly diffId: DiffId;
  /** The stored layer. Undefined for streams. */
  readonly layer: Layer | undefined;
};

/** The blobs of a tree of manifests. */
export type PlannedContent =
  | {
      readonly kind: "image";
      /** Undefined for an engine's image, which comes as a stream. */
      readonly image: Image | undefined;
      /** Its step is `make` if only the saved archive has the config. */
      readonly config: PlannedBlob;
      /** All layers, base first, with repeats. */
      readonly order: readonly PlannedLayer[];
    }
  | { readonly kind: "artifact"; readonly artifact: Artifact; readonly blobs: readonly PlannedBlob[] }
  | { readonly kind: "index"; readonly index: Index; readonly children: readonly PlannedContent[] };

/** Content about other content, which goes up where that is published as it was. */
export type PlannedAttached = Omit<Attached, "content"> & { readonly planned: PlannedContent };

export type Plan = {
  readonly source: Source;
  readonly target: Target;
  readonly root: PlannedContent;
  readonly attached: readonly PlannedAttached[];
  /** The distinct layers. */
  readonly layers: readonly PlannedLayer[];
  /** The distinct configs and blobs of artifacts. */
  readonly others: readonly PlannedBlob[];
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
  const blobs = { layers: new Map<string, PlannedLayer>(), others: new Map<string, PlannedBlob>() };
  const root =
    source.access === "any"
      ? planContent(source.content, source.content, blobs, context, job)
      : planSaved(source, blobs, context, job);
  const attached = source.access === "any" ? source.referrers : [];
  return {
    ...context,
    root,
    attached: attached.map(({ content, ...rest }) => ({
      ...rest,
      planned: planContent(content, content, blobs, context, job),
    })),
    layers: [...blobs.layers.values()],
    others: [...blobs.others.values()],
  };
}

/** The blobs of a plan while it is made. Each is planned once. */
type Blobs = { readonly layers: Map<string, PlannedLayer>; readonly others: Map<string, PlannedBlob> };

/** @param root tells whether a blob's title has to name the platform */
function planContent(
  content: Content,
  root: Content,
  blobs: Blobs,
  context: Context,
  job: Job,
): PlannedContent {
  switch (content.kind) {
    case "image":
      return planImage(
        content,
        root.kind === "image" ? "" : `${content.platform ?? "image"} `,
        blobs,
        context,
        job,
      );
    case "artifact":
      return {
        kind: "artifact",
        artifact: content,
        blobs: content.blobs.map((blob) =>
          planStored(blob, `blob ${shortDigest(blob.descriptor.digest)}`, blobs, context, job),
        ),
      };
    case "index": {
      const children = content.children.flatMap((child) => child.content ?? []);
      return {
        kind: "index",
        index: content,
        children: children.map((child) => planContent(child, root, blobs, context, job)),
      };
    }
  }
}

function planImage(image: Image, prefix: string, blobs: Blobs, context: Context, job: Job): PlannedContent {
  const order = image.layers.map((each, i) => {
    const layer = wantedForm(each, job);
    const title = `${prefix}layer ${i + 1}/${image.layers.length} ${shortDigest(layer.diffId)}`;
    return planLayer({ id: identityOf(layer), title, diffId: layer.diffId, layer }, blobs, context, job);
  });
  const title = `${prefix}config ${shortDigest(image.config.descriptor.digest)}`;
  return { kind: "image", image, order, config: planStored(image.config, title, blobs, context, job) };
}

/** With `forceCompression`, compressed layers are unpacked, and compressed anew. */
function wantedForm(layer: Layer, { options, signal }: Job): Layer {
  if (!options.forceCompression || layer.compression === "none") return layer;
  const { diffId, name, content, compression } = layer;
  const read = () => unpackLayer(content, compression, name, signal);
  return { diffId, name, claimedDigest: undefined, compression: "none", content: { size: undefined, read } };
}

function planSaved(source: StreamSource, blobs: Blobs, context: Context, job: Job): PlannedContent {
  const { diffIds } = source.image;
  const order = diffIds.map((diffId, i) => {
    const title = `layer ${i + 1}/${diffIds.length} ${shortDigest(diffId)}`;
    return planLayer({ id: diffId, title, diffId, layer: undefined }, blobs, context, job);
  });
  const name = { id: CONFIG_ID, title: "config", stored: undefined };
  const config = track(name, settleConfig([...blobs.layers.values()], context, job));
  blobs.others.set(config.id, config);
  return { kind: "image", image: undefined, order, config };
}

async function reportLeftOut(source: Source, resolved: Plan["resolved"], job: Job): Promise<void> {
  if (source.access === "any") {
    const { content, leftOut } = source;
    return reportReduced(leftOut, content.kind === "image" ? content.platform : undefined, job);
  }
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

/** The ID of an engine's config, whose digest may be known late. */
const CONFIG_ID = "config";

type Context = Pick<Plan, "source" | "target" | "resolved" | "knownImages">;

function track<T extends object>(blob: T, settled: Promise<Step>) {
  // May reject before it is awaited. That must not count as unhandled.
  settled.catch(() => undefined);
  return { ...blob, settled };
}

type Part = BlobTitle & Pick<PlannedLayer, "diffId" | "layer">;

function planLayer(part: Part, { layers }: Blobs, context: Context, job: Job): PlannedLayer {
  const planned =
    layers.get(part.id) ?? track({ ...part, stored: undefined }, settleLayer(part, context, job));
  layers.set(part.id, planned);
  return planned;
}

/** Plans a blob that goes up as it is. */
function planStored(
  blob: StoredBlob,
  title: string,
  { others }: Blobs,
  context: Context,
  job: Job,
): PlannedBlob {
  const id: string = blob.descriptor.digest;
  const name = { id, title };
  const { descriptor, content } = blob;
  // What comes as a stream is verified as it comes.
  const guard = content instanceof Blob && guardBlob({ descriptor, content }, title, job.signal);
  const ready = { blob, origin: "source", ...(guard && { guard }) } as const;
  const planned = others.get(id) ?? track({ ...name, stored: blob }, settleReady(ready, name, context, job));
  others.set(id, planned);
  return planned;
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
  // A stream's blobs are on their way before they are planned.
  if (target.brought.has(descriptor.digest)) return { step: "send", ready };
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

async function settleConfig(layers: readonly PlannedLayer[], context: Context, job: Job): Promise<Step> {
  const blob = await findConfig(layers, context);
  if (blob === undefined) return { step: "make" };
  const ready = { blob, origin: "source" } as const;
  return settleReady(ready, configName(blob), context, job);
}

/** Names the config of an engine's image, once it is known. */
export function configName({ descriptor }: Pick<RegistryBlob, "descriptor">): BlobTitle {
  return { id: CONFIG_ID, title: `config ${shortDigest(descriptor.digest)}` };
}

/** Returns the config of an engine's image, or undefined if only the saved archive has it. */
export async function findConfig(
  layers: readonly PlannedLayer[],
  { source, resolved, knownImages }: Pick<Plan, "source" | "resolved" | "knownImages">,
): Promise<RegistryBlob | undefined> {
  if (source.access === "any") return undefined;
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
