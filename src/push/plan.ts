import { rawBytesOf } from "../layers/unpack.ts";
import { type Artifact, type Content, type Index, identityOf, type StoredBlob } from "../oci/content.ts";
import { shortDigest } from "../oci/digest.ts";
import type { Image, Layer } from "../oci/image.ts";
import { readKnownImages } from "../registry/known-images.ts";
import type { BlobTitle, PlannedTitle } from "../report/events.ts";
import type { Attached } from "../source/attached.ts";
import type { SavedSource, Source, StoredSource } from "../source/source.ts";
import { callOf, type Job } from "./job.ts";
import { readyAsStored } from "./send.ts";
import {
  CONFIG_ID,
  type Context,
  type Part,
  type Step,
  settleConfig,
  settleLayer,
  settleReady,
} from "./settle.ts";
import type { Target } from "./target.ts";

/** A blob of the pushed content. `settled` resolves when the cache and the registry have answered. */
export type PlannedBlob = BlobTitle & {
  readonly settled: Promise<Step>;
  /** Set for a blob of the source that is pushed unchanged. */
  readonly stored: StoredBlob | undefined;
};

/** A layer. Equal layers share one entry. */
export type PlannedLayer = PlannedBlob & Part;

/** The blobs of a tree of manifests. */
export type PlannedContent =
  | {
      readonly kind: "image";
      /** Undefined for an image that the engine saves. */
      readonly image: Image | undefined;
      /** The step is `make` if only the saved archive has the config. */
      readonly config: PlannedBlob;
      /** All layers, base first, with repeats. */
      readonly order: readonly PlannedLayer[];
    }
  | { readonly kind: "artifact"; readonly artifact: Artifact; readonly blobs: readonly PlannedBlob[] }
  | { readonly kind: "index"; readonly index: Index; readonly children: readonly PlannedContent[] };

/** A referrer, such as a signature, which is pushed if its subject is published unchanged. */
type PlannedAttached = Omit<Attached, "content"> & {
  /** Undefined if the source does not have all of it. */
  readonly planned: PlannedContent | undefined;
};

export type Plan = Context & {
  readonly root: PlannedContent;
  readonly attached: readonly PlannedAttached[];
  /** The distinct layers. */
  readonly layers: readonly PlannedLayer[];
  /** The distinct configs and blobs of artifacts. */
  readonly others: readonly PlannedBlob[];
};

/** Starts to settle what to do for each blob. Work on a blob can begin as soon as its own entry has settled. */
export function startPlan(source: Source, target: Target, job: Job): Plan {
  let known: ReturnType<Plan["knownImages"]> | undefined;
  const { compression, cacheFrom } = job.options;
  const context = {
    source,
    target,
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
  if (source.access === "any") reportLeftOut(source, job);
  const blobs = { layers: new Map<string, PlannedLayer>(), others: new Map<string, PlannedBlob>() };
  const root =
    source.access === "any"
      ? planContent(source.content, blobs, context, job)
      : planSaved(source, blobs, context, job);
  const referrers = source.access === "any" ? source.referrers : [];
  const attached = referrers.map(({ content, ...rest }) => ({
    ...rest,
    planned: content && planContent(content, blobs, context, job),
  }));
  const layers = [...blobs.layers.values()];
  const others = [...blobs.others.values()];
  job.report({
    type: "planned",
    blobs: [...others.map(describeStored), ...layers.map((layer) => describeLayer(layer, job))],
  });
  return { ...context, root, attached, layers, others };
}

function describeStored({ id, title, stored }: PlannedBlob): PlannedTitle {
  return { id, title, sizeBytes: stored?.descriptor.size, sourceBytes: undefined };
}

function describeLayer({ id, title, layer }: PlannedLayer, { pool }: Job): PlannedTitle {
  const size = layer?.content.size;
  const isCompressed = layer?.compression === "none" && pool !== undefined;
  return {
    id,
    title,
    sizeBytes: isCompressed ? undefined : size,
    sourceBytes: isCompressed ? size : undefined,
  };
}

/** The blobs that are planned so far, each once. */
type Blobs = { readonly layers: Map<string, PlannedLayer>; readonly others: Map<string, PlannedBlob> };

/** @param isListed whether an index lists the content: the titles of an image's blobs then name its platform */
function planContent(
  content: Content,
  blobs: Blobs,
  context: Context,
  job: Job,
  isListed = false,
): PlannedContent {
  switch (content.kind) {
    case "image":
      return planImage(content, isListed ? `${content.platform ?? "image"} ` : "", blobs, context, job);
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
        children: children.map((child) => planContent(child, blobs, context, job, true)),
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

/** Makes a compressed layer a raw one with `forceCompression`, so that it is recompressed. */
function wantedForm(layer: Layer, { options }: Job): Layer {
  if (!options.forceCompression || layer.compression === "none") return layer;
  const { diffId, name, content, compression } = layer;
  const raw = rawBytesOf(content, compression, undefined, name);
  return { diffId, name, claimedDigest: undefined, compression: "none", content: raw };
}

function planSaved(source: SavedSource, blobs: Blobs, context: Context, job: Job): PlannedContent {
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

/** Reports the index entries that are not pushed. */
function reportLeftOut({ content, leftOut }: StoredSource, { report }: Job): void {
  const platform = content.kind === "image" ? content.platform : undefined;
  if (leftOut !== undefined) report({ type: "notice", code: "INDEX_REDUCED", platform, ...leftOut });
}

function track<T extends object>(blob: T, settled: Promise<Step>) {
  // It may reject before it is awaited. That must not count as unhandled.
  settled.catch(() => undefined);
  return { ...blob, settled };
}

function planLayer(part: Part, { layers }: Blobs, context: Context, job: Job): PlannedLayer {
  const planned =
    layers.get(part.id) ?? track({ ...part, stored: undefined }, settleLayer(part, context, job));
  layers.set(part.id, planned);
  return planned;
}

/** Plans a blob that is pushed unchanged. */
function planStored(
  blob: StoredBlob,
  title: string,
  { others }: Blobs,
  context: Context,
  job: Job,
): PlannedBlob {
  const id: string = blob.descriptor.digest;
  const name = { id, title };
  const ready = readyAsStored(blob, title, job.signal);
  const planned = others.get(id) ?? track({ ...name, stored: blob }, settleReady(ready, name, context, job));
  others.set(id, planned);
  return planned;
}
