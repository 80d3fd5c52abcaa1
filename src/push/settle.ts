import { readyAsClaimed, readyFromCache } from "../layers/prepare.ts";
import type { Descriptor, RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, shortDigest } from "../oci/digest.ts";
import { type Layer, parseImageConfig } from "../oci/image.ts";
import { askForBlob } from "../registry/find-blob.ts";
import type { KnownImage } from "../registry/known-images.ts";
import type { BlobTitle } from "../report/events.ts";
import type { SavedSource, Source } from "../source/source.ts";
import { findCachedDocument } from "../store/documents.ts";
import { findCachedLayer } from "../store/layers.ts";
import { callOf, type Job, reportBlob } from "./job.ts";
import type { BringOptions, Sendable } from "./send.ts";
import type { Target } from "./target.ts";

/** The planned action for a blob. */
export type Step =
  /** The repository has the blob. */
  | { readonly step: "present"; readonly descriptor: Descriptor }
  /** The blob is to be mounted from another repository, or else made. */
  | { readonly step: "mount"; readonly descriptor: Descriptor; readonly from: string }
  /** The blob is ready, and the registry lacks it. */
  | ({ readonly step: "send"; readonly ready: Sendable } & Pick<BringOptions, "answer">)
  /** The blob has to be compressed, verified, or read from a save first. */
  | { readonly step: "make" };

/** The parts of a plan that settling a blob needs. */
export type Context = {
  readonly source: Source;
  readonly target: Target;
  /**
   * Reads the images of `cacheFrom`, once a layer is missing in the cache. No other image is trusted: its manifest may pair a
   * diffID with any blob.
   */
  knownImages(): Promise<KnownImage[]>;
};

/** A layer to plan. */
export type Part = BlobTitle & {
  readonly diffId: DiffId;
  /** Undefined for a layer of a save. */
  readonly layer: Layer | undefined;
};

/** The ID of a saved image's config in reports: its digest may not be known yet. */
export const CONFIG_ID = "config";

/** Chooses the step for a layer. */
export async function settleLayer(part: Part, context: Context, job: Job): Promise<Step> {
  const { layer, diffId } = part;
  if (layer !== undefined && (layer.compression !== "none" || job.pool === undefined)) {
    const ready = readyAsClaimed(layer, job.signal);
    return ready === undefined ? { step: "make" } : settleReady(ready, part, context, job);
  }
  const cached = await findCachedLayer(job.cache, diffId, job.pool?.form);
  if (cached !== undefined) {
    // A layer that was just taken from a stream is already on its way.
    if (!context.target.brought.has(cached.descriptor.digest)) reportBlob(job, part, cachedState(cached));
    return settleReady(readyFromCache(cached, part.title, job.signal), part, context, job);
  }
  const image = (await context.knownImages()).find(({ layers }) => layers.has(diffId));
  const descriptor = image?.layers.get(diffId);
  if (image === undefined || descriptor === undefined) return { step: "make" };
  return (await settleKnown(descriptor, image.repository, part, context, job)) ?? { step: "make" };
}

/** Returns the state of a cached blob, for a report. */
export function cachedState({ descriptor: { size } }: RegistryBlob) {
  return { state: "ready", how: "cached", totalBytes: size, sizeBytes: size } as const;
}

/** Chooses the step for a blob that is ready. */
export async function settleReady(
  ready: Sendable,
  name: BlobTitle,
  { target }: Context,
  job: Job,
): Promise<Step> {
  const { descriptor } = ready.blob;
  // Blobs of a stream are sent before they are planned.
  if (target.brought.has(descriptor.digest)) return { step: "send", ready };
  const found = await askForBlob(target.at, descriptor, callOf(job, name));
  return found?.sizeBytes === descriptor.size
    ? { step: "present", descriptor }
    : { step: "send", ready, answer: { found } };
}

/** Chooses the step for a layer of a known image. Undefined if the registry has lost it. */
async function settleKnown(
  descriptor: Descriptor,
  from: string,
  name: BlobTitle,
  { target }: Context,
  job: Job,
): Promise<Step | undefined> {
  // Registries may report a wrong size for mounted blobs. Only the status counts.
  const found = await askForBlob(target.at, descriptor, callOf(job, name));
  if (found !== undefined) return { step: "present", descriptor };
  return from === target.at.name ? undefined : { step: "mount", descriptor, from };
}

/** Chooses the step for the config of an engine's image. */
export async function settleConfig(
  layers: readonly { readonly settled: Promise<Step> }[],
  context: Context,
  job: Job,
): Promise<Step> {
  const blob = await findConfig(layers, context, job);
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
  layers: readonly { readonly settled: Promise<Step> }[],
  { source, knownImages }: Pick<Context, "source" | "knownImages">,
  job: Job,
): Promise<RegistryBlob | undefined> {
  if (source.access === "any") return undefined;
  const saved = await findSavedConfig(source.image, job);
  if (saved !== undefined) return saved;
  const steps = await Promise.all(layers.map(({ settled }) => settled));
  if (steps.some(({ step }) => step === "make")) return undefined;
  // The engine's ID of the image is the digest of its config, which a known image may have.
  const { id } = source.image;
  return (await knownImages()).find(({ config }) => config.descriptor.digest === id)?.config;
}

/** Returns the cached config of an engine's image. */
export async function findSavedConfig(
  { id, diffIds }: SavedSource["image"],
  { cache }: Job,
): Promise<RegistryBlob | undefined> {
  const bytes = await findCachedDocument(cache, id);
  const config = bytes && parseImageConfig(bytes, id);
  return config?.diffIds.join() === diffIds.join() ? config.blob : undefined;
}
