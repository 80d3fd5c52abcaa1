import { open } from "node:fs/promises";
import { PushError } from "../errors.ts";
import { fileError, OTHER_CACHE } from "../file-error.ts";
import { MEDIA_TYPE } from "../oci/descriptor.ts";
import { type DiffId, digestHasher, shortDigest } from "../oci/digest.ts";
import { type Compression, compressionOf } from "../oci/image.ts";
import { temporaryFile } from "../temporary-file.ts";
import { compressLayer } from "./compress-layer.ts";
import { hashUnpacked } from "./hash-blob.ts";
import { storeLayer, storePackedLayer } from "./layer-cache.ts";
import type { PreparedLayer, PrepareOptions } from "./prepare-layer.ts";

type Bytes = AsyncIterable<Uint8Array<ArrayBuffer>>;

/** A layer that was read once. What it is shows only then. */
export type StreamedLayer =
  | { readonly kind: "raw"; readonly diffId: DiffId; readonly prepared: PreparedLayer }
  /** Nothing is kept of it. */
  | { readonly kind: "unwanted"; readonly diffId: DiffId }
  /** It came compressed, and is kept so. Which layer it is, whoever sent it has to say where its name is its digest. */
  | { readonly kind: "packed"; readonly diffId: DiffId | undefined; readonly prepared: PreparedLayer };

/**
 * Gives a layer that can be read only once the form in which it goes up, in the cache, if it is wanted. Throws `CONTENT_MISMATCH` and `FILE_FAILED`.
 *
 * @param path the layer's name where it comes from, which may be its digest
 */
export async function prepareStreamedLayer(
  path: string,
  bytes: Bytes,
  isWanted: (diffId: DiffId) => boolean,
  options: Pick<PrepareOptions, "cache" | "pool" | "signal" | "onProgress">,
): Promise<StreamedLayer> {
  const { cache, pool, signal, onProgress } = options;
  await using file = temporaryFile(cache.directory, "layer");
  onProgress(0);
  try {
    const { head, all } = await peek(bytes);
    const compression = compressionOf(head);
    if (compression !== "none") return await keepPacked(path, all, file.path, compression, options);
    const compressed = await compressLayer(all, file.path, pool, signal, onProgress);
    // The digest of the raw bytes is what a diffID is.
    const diffId = compressed.rawDigest as string as DiffId;
    if (!isWanted(diffId)) return { kind: "unwanted", diffId };
    const blob = await storeLayer(cache, diffId, { path: file.path, ...compressed });
    return { kind: "raw", diffId, prepared: { blob, origin: "compressed" } };
  } catch (cause) {
    throw fileError(cause, `compress the layer "${path}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

async function keepPacked(
  path: string,
  bytes: Bytes,
  target: string,
  compression: Exclude<Compression, "none">,
  { cache, signal, onProgress }: Pick<PrepareOptions, "cache" | "signal" | "onProgress">,
): Promise<StreamedLayer> {
  const hasher = digestHasher();
  let size = 0;
  const file = await open(target, "wx", 0o644);
  try {
    for await (const piece of bytes) {
      signal.throwIfAborted();
      hasher.update(piece);
      await file.writeFile(piece);
      size += piece.length;
      onProgress(size);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const digest = hasher.digest();
  const [, hex] = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path) ?? [];
  if (hex !== undefined && digest !== `sha256:${hex}`) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the layer "${path}" is damaged: it is ${shortDigest(digest)}.`,
      { hint: "The engine's own copy may be damaged: pull or build the image again." },
    );
  }
  const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest, size };
  return {
    kind: "packed",
    diffId: hex === undefined ? await unpackedDiffId(target, compression, path, signal) : undefined,
    prepared: { blob: await storePackedLayer(cache, target, descriptor), origin: "source" },
  };
}

async function unpackedDiffId(
  target: string,
  compression: Exclude<Compression, "none">,
  path: string,
  signal: AbortSignal,
): Promise<DiffId> {
  const unpacked = await hashUnpacked(Bun.file(target), compression, path, signal);
  return unpacked as string as DiffId;
}

/** The first bytes, and all of them. */
async function peek(bytes: Bytes): Promise<{ head: Uint8Array; all: Bytes }> {
  const pieces = bytes[Symbol.asyncIterator]();
  let head = new Uint8Array();
  let isOver = false;
  while (head.length < 4 && !isOver) {
    const piece = await pieces.next();
    isOver = piece.done === true;
    if (!piece.done) head = head.length === 0 ? piece.value : Uint8Array.from([...head, ...piece.value]);
  }
  async function* all() {
    yield head;
    for (let piece = await pieces.next(); !piece.done; piece = await pieces.next()) yield piece.value;
  }
  return { head, all: all() };
}
