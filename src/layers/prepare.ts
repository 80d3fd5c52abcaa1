import { fileError, OTHER_CACHE } from "../errors.ts";
import { MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { isDiffId, parseDigest } from "../oci/digest.ts";
import type { Layer } from "../oci/image.ts";
import { readPieces } from "../oci/read-pieces.ts";
import { pointerName } from "../store/file-names.ts";
import { dropCachedLayer, findCachedLayer, type LayerCache, storeLayer } from "../store/layers.ts";
import type { Lock, Locks } from "../store/locks.ts";
import { temporaryFile } from "../store/temporary-file.ts";
import { compressLayer } from "./compress/layer.ts";
import type { CompressPool } from "./compress/pool.ts";
import { damagedLayer } from "./damaged-layer.ts";
import { type BlobGuard, guardBlob } from "./guard.ts";
import { hashBlob, hashUnpacked } from "./hash.ts";

/** A layer that is ready for the registry. */
export type PreparedLayer = {
  readonly blob: RegistryBlob;
  /** `cache`: made by an earlier push, its bytes not checked since. `source`: it goes up as it came. */
  readonly origin: "compressed" | "cache" | "source";
  /** Of one that was not read yet. */
  readonly guard?: BlobGuard;
};

export type PrepareOptions = {
  readonly cache: LayerCache;
  readonly locks: Locks;
  /** Undefined: raw layers stay raw. */
  readonly pool: CompressPool | undefined;
  readonly signal: AbortSignal;
  /** Told how many bytes of the layer, as it lies in its source, are done. */
  readonly onProgress: (doneBytes: number) => void;
  /** Told that another push compresses this layer, whose work is waited for. */
  readonly onWaiting: () => void;
};

/**
 * Gives a layer the form in which it goes up: a raw one is compressed, or taken from the cache, unless it is to stay
 * raw; a compressed one stays as it is. Every byte is checked against the diffID or digest that names it, here or while it
 * is sent.
 *
 * Throws `CONTENT_MISMATCH` naming the layer, and `FILE_FAILED`.
 */
export async function prepareLayer(layer: Layer, options: PrepareOptions): Promise<PreparedLayer> {
  const { cache, pool } = options;
  if (pool === undefined || layer.compression !== "none") {
    return layerAsClaimed(layer, options.signal) ?? (await checkByUnpacking(layer, options));
  }
  using _turn = await takeTurn(layer, pool, options);
  const cached = await findCachedLayer(cache, layer.diffId, pool.form);
  if (cached !== undefined) return { blob: cached, origin: "cache" };
  return { blob: await compress(layer, pool, options), origin: "compressed" };
}

/**
 * Tells whether a layer is what its digest says: the bytes of one that came from the cache are read and checked. To be
 * asked before any of them are sent.
 */
export async function isSound({ blob, origin }: PreparedLayer, signal: AbortSignal): Promise<boolean> {
  return origin !== "cache" || (await isIntact(blob, signal));
}

/** Makes a layer anew that is not sound in the cache. Throws as `prepareLayer` does. */
export async function repairLayer(layer: Layer, options: PrepareOptions): Promise<PreparedLayer> {
  const { pool } = options;
  if (pool === undefined) return prepareLayer(layer, options);
  using _turn = await takeTurn(layer, pool, options);
  // Another push may have been faster.
  const current = await findCachedLayer(options.cache, layer.diffId, pool.form);
  if (current !== undefined) {
    if (await isIntact(current, options.signal)) return { blob: current, origin: "cache" };
    await dropCachedLayer(options.cache, current);
  }
  return { blob: await compress(layer, pool, options), origin: "compressed" };
}

/** The pushes that share a cache compress a layer one at a time, so that all but the first find it done. */
function takeTurn(
  { diffId }: Layer,
  { form }: CompressPool,
  { locks, onWaiting }: PrepareOptions,
): Promise<Lock> {
  return locks.take(pointerName(diffId, form), onWaiting);
}

/**
 * A layer that goes up as it lies in its source, under the digest that the source says it has. Nothing of it is read
 * here: where the registry has it, nothing has to be. Undefined where the source does not say.
 */
export function layerAsClaimed(layer: Layer, signal: AbortSignal): PreparedLayer | undefined {
  const { compression, content, diffId, name } = layer;
  const claimed = compression === "none" ? parseDigest(diffId, "a diffID") : layer.claimedDigest;
  if (claimed === undefined) return undefined;
  const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest: claimed, size: content.size };
  const blob = { descriptor, content };
  return { blob, origin: "source", guard: guardBlob(blob, name, signal) };
}

/** Content that cannot be read is as good as damaged: it may have been removed since it was found. */
async function isIntact({ descriptor, content }: RegistryBlob, signal: AbortSignal): Promise<boolean> {
  try {
    return (await hashBlob(content, signal)) === descriptor.digest;
  } catch (error) {
    if (error instanceof Error && "syscall" in error) return false;
    throw error;
  }
}

async function compress(
  layer: Layer,
  pool: CompressPool,
  { cache, signal, onProgress }: PrepareOptions,
): Promise<RegistryBlob> {
  await using file = temporaryFile(cache.directory, "layer");
  onProgress(0);
  try {
    const pieces = readPieces(layer.content, pool.blockBytes, signal);
    const compressed = await compressLayer(pieces, file.path, pool, signal, onProgress);
    if (!isDiffId(compressed.rawDigest, layer.diffId))
      throw damagedLayer(layer.name, layer.diffId, compressed.rawDigest);
    return await storeLayer(cache, layer.diffId, pool.form, { path: file.path, ...compressed });
  } catch (cause) {
    throw fileError(cause, `compress the layer "${layer.name}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

/** A compressed layer of which nobody says what digest it has: the diffID alone tells whether it is the right one. */
async function checkByUnpacking(
  { compression, content, diffId, name }: Layer,
  { signal, onProgress }: PrepareOptions,
): Promise<PreparedLayer> {
  if (compression === "none") throw new Error("A raw layer's digest is its diffID.");
  onProgress(0);
  const digest = await hashBlob(content, signal, onProgress).catch((cause: unknown) => {
    throw fileError(cause, `read the layer "${name}"`);
  });
  const unpacked = await hashUnpacked(content, compression, name, signal);
  if (!isDiffId(unpacked, diffId)) throw damagedLayer(name, diffId, unpacked);
  const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest, size: content.size };
  return { blob: { descriptor, content }, origin: "source" };
}
