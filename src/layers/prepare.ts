import { fileError, OTHER_CACHE } from "../errors.ts";
import { MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { asDiffId, parseDigest } from "../oci/digest.ts";
import type { Layer } from "../oci/image.ts";
import { readPieces } from "../oci/read-pieces.ts";
import { pointerName } from "../store/file-names.ts";
import {
  dropCachedLayer,
  findCachedLayer,
  type LayerCache,
  storeLayer,
  storePackedLayer,
} from "../store/layers.ts";
import type { Locks } from "../store/locks.ts";
import { temporaryFile } from "../store/temporary-file.ts";
import { compressLayer } from "./compress/layer.ts";
import type { CompressPool } from "./compress/pool.ts";
import { type BlobGuard, guardBlob } from "./guard.ts";
import { damagedLayer, hashBlob, hashStream } from "./hash.ts";
import { unpackLayer } from "./unpack.ts";
import { writeHashed } from "./write-hashed.ts";

const WRITE_BYTES = 1024 * 1024;

/** A blob that is ready to upload. */
export type ReadyBlob = {
  readonly blob: RegistryBlob;
  /** `cache`: compressed by an earlier push. `source`: uploaded unchanged. */
  readonly origin: "compressed" | "cache" | "source";
  /** Set while the content is unverified. */
  readonly guard?: BlobGuard;
};

export type PrepareOptions = {
  readonly cache: LayerCache;
  readonly locks: Locks;
  /** Undefined if raw layers are pushed uncompressed. */
  readonly pool: CompressPool | undefined;
  readonly signal: AbortSignal;
  /** Called with the number of source bytes processed. */
  readonly onProgress: (doneBytes: number) => void;
  /** Called if this push waits for another one that compresses the layer. */
  readonly onWaiting: () => void;
  /** Whether to verify a cached blob here, and rebuild a damaged one. @default false */
  readonly repairs?: boolean;
};

/**
 * Prepares a layer for upload. Compresses a raw layer, or takes it from the cache, unless the push keeps layers raw.
 * Leaves a compressed layer unchanged. Every byte is verified against its diffID or digest, here or while it is sent.
 * Throws `CONTENT_MISMATCH` naming the layer, and `FILE_FAILED`.
 */
export async function prepareLayer(layer: Layer, options: PrepareOptions): Promise<ReadyBlob> {
  const { cache, pool, locks, signal, onWaiting, repairs = false } = options;
  if (pool === undefined || layer.compression !== "none") {
    const ready = readyAsClaimed(layer, signal);
    if (ready !== undefined) return ready;
    return layer.compression === "none" ? keepRaw(layer, options) : verifyByUnpacking(layer, options);
  }
  // Pushes that share a cache compress a layer one at a time, so that all but the first find it done.
  using _lock = await locks.take(pointerName(layer.diffId, pool.form), onWaiting);
  const cached = await findCachedLayer(cache, layer.diffId, pool.form);
  if (cached !== undefined) {
    if (!repairs || (await isIntact(cached, signal))) return readyFromCache(cached, layer.name, signal);
    await dropCachedLayer(cache, cached);
  }
  return { blob: await compress(layer, pool, options), origin: "compressed" };
}

/** Wraps a cached blob, to verify it during upload. */
export function readyFromCache(blob: RegistryBlob, name: string, signal: AbortSignal): ReadyBlob {
  return { blob, origin: "cache", guard: guardBlob(blob, name, signal) };
}

/**
 * Wraps a layer that is uploaded unchanged under its claimed digest, without reading it. Undefined without a claimed
 * digest, and for content that can only be read from its start.
 */
export function readyAsClaimed(layer: Layer, signal: AbortSignal): ReadyBlob | undefined {
  const { compression, content, diffId, name } = layer;
  const claimed = compression === "none" ? parseDigest(diffId, "a diffID") : layer.claimedDigest;
  if (claimed === undefined || !(content instanceof Blob)) return undefined;
  const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest: claimed, size: content.size };
  const blob = { descriptor, content };
  return { blob, origin: "source", guard: guardBlob(blob, name, signal) };
}

/** Tells whether content matches its digest. Unreadable content does not. */
export async function isIntact({ descriptor, content }: RegistryBlob, signal: AbortSignal): Promise<boolean> {
  try {
    return (await hashBlob(content, signal)) === descriptor.digest;
  } catch (error) {
    if (error instanceof Error && "syscall" in error) return false;
    throw error;
  }
}

/** A layer whose stored bytes are its raw bytes. */
type RawLayer = Extract<Layer, { compression: "none" }>;

async function compress(
  layer: RawLayer,
  pool: CompressPool,
  { cache, signal, onProgress }: PrepareOptions,
): Promise<RegistryBlob> {
  await using file = temporaryFile(cache.directory, "layer");
  onProgress(0);
  try {
    const pieces = piecesOf(layer, pool.blockBytes, signal);
    const compressed = await compressLayer(pieces, file.path, pool, signal, onProgress);
    if (asDiffId(compressed.rawDigest) !== layer.diffId)
      throw damagedLayer(layer.name, layer.diffId, compressed.rawDigest);
    return await storeLayer(cache, layer.diffId, pool.form, { path: file.path, ...compressed });
  } catch (cause) {
    throw fileError(cause, `compress the layer "${layer.name}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

function piecesOf({ content }: RawLayer, pieceBytes: number, signal: AbortSignal) {
  return content instanceof Blob ? readPieces(content, pieceBytes, signal) : content.read(signal);
}

/** Stores a raw layer that can only be read from its start: chunks are read from any offset. */
async function keepRaw(layer: RawLayer, { cache, signal, onProgress }: PrepareOptions): Promise<ReadyBlob> {
  const cached = await findCachedLayer(cache, layer.diffId, undefined);
  if (cached !== undefined) return readyFromCache(cached, layer.name, signal);
  await using file = temporaryFile(cache.directory, "layer");
  try {
    const { digest, writtenBytes } = await writeHashed(piecesOf(layer, WRITE_BYTES, signal), file.path, {
      signal,
      onProgress,
    });
    if (asDiffId(digest) !== layer.diffId) throw damagedLayer(layer.name, layer.diffId, digest);
    const descriptor = { mediaType: MEDIA_TYPE.layer.none, digest, size: writtenBytes };
    return { blob: await storePackedLayer(cache, file.path, descriptor), origin: "source" };
  } catch (cause) {
    throw fileError(cause, `write the layer "${layer.name}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

/** Verifies a compressed layer without a claimed digest by its diffID. */
async function verifyByUnpacking(
  { compression, content, diffId, name }: Exclude<Layer, RawLayer>,
  { signal, onProgress }: PrepareOptions,
): Promise<ReadyBlob> {
  onProgress(0);
  const digest = await hashBlob(content, signal, onProgress).catch((cause: unknown) => {
    throw fileError(cause, `read the layer "${name}"`);
  });
  const unpacked = await hashStream(unpackLayer(content, compression, name, signal));
  if (asDiffId(unpacked) !== diffId) throw damagedLayer(name, diffId, unpacked);
  const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest, size: content.size };
  return { blob: { descriptor, content }, origin: "source" };
}
