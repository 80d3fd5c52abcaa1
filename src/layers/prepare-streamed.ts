import { open } from "node:fs/promises";
import { PushError } from "../errors.ts";
import { fileError, OTHER_CACHE } from "../file-error.ts";
import { MEDIA_TYPE } from "../oci/descriptor.ts";
import { type DiffId, type Digest, digestHasher, hexOf, parseDiffId, shortDigest } from "../oci/digest.ts";
import { compressionOf } from "../oci/image.ts";
import { temporaryFile } from "../temporary-file.ts";
import { compressLayer } from "./compress-layer.ts";
import { hashUnpacked } from "./hash-blob.ts";
import { storeLayer, storePackedLayer } from "./layer-cache.ts";
import type { PreparedLayer, PrepareOptions } from "./prepare-layer.ts";

type Bytes = AsyncIterable<Uint8Array<ArrayBuffer>>;

/** A layer that was read once. What it is shows only then. */
export type StreamedLayer =
  /** Undefined: a compressed one, of which the archive has to say which layer it is. */
  | { readonly kind: "kept"; readonly diffId: DiffId | undefined; readonly prepared: PreparedLayer }
  /** Nothing is kept of it. */
  | { readonly kind: "unwanted"; readonly diffId: DiffId };

/**
 * Gives a layer that can be read only once the form in which it goes up, in the cache, if it is wanted. Throws
 * `CONTENT_MISMATCH` and `FILE_FAILED`.
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
    if (compression !== "none" || pool === undefined) {
      const { digest, sizeBytes } = await writeAsItComes(path, all, file.path, options);
      // The digest of the raw bytes is what a diffID is. A name that is a digest is of the bytes as they came.
      const diffId =
        compression === "none"
          ? digest
          : isBlobPath(path)
            ? undefined
            : await hashUnpacked(Bun.file(file.path), compression, path, signal);
      if (diffId !== undefined && !isWanted(asDiffId(diffId))) {
        return { kind: "unwanted", diffId: asDiffId(diffId) };
      }
      const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest, size: sizeBytes };
      const blob = await storePackedLayer(cache, file.path, descriptor);
      return { kind: "kept", diffId: diffId && asDiffId(diffId), prepared: { blob, origin: "source" } };
    }
    const compressed = await compressLayer(all, file.path, pool, signal, onProgress);
    const diffId = asDiffId(compressed.rawDigest);
    if (!isWanted(diffId)) return { kind: "unwanted", diffId };
    const blob = await storeLayer(cache, diffId, pool.form, { path: file.path, ...compressed });
    return { kind: "kept", diffId, prepared: { blob, origin: "compressed" } };
  } catch (cause) {
    throw fileError(cause, `compress the layer "${path}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

async function writeAsItComes(
  path: string,
  bytes: Bytes,
  target: string,
  { signal, onProgress }: Pick<PrepareOptions, "signal" | "onProgress">,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const hasher = digestHasher();
  let sizeBytes = 0;
  const file = await open(target, "wx", 0o644);
  try {
    for await (const piece of bytes) {
      signal.throwIfAborted();
      hasher.update(piece);
      await file.writeFile(piece);
      sizeBytes += piece.length;
      onProgress(sizeBytes);
    }
  } finally {
    await file.close();
  }
  const digest = hasher.digest();
  if (isBlobPath(path) && !path.endsWith(hexOf(digest))) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the layer "${path}" is damaged: it is ${shortDigest(digest)}.`,
      { hint: "The engine's own copy may be damaged: pull or build the image again." },
    );
  }
  return { digest, sizeBytes };
}

function isBlobPath(path: string): boolean {
  return /^blobs\/sha256\/[0-9a-f]{64}$/.test(path);
}

function asDiffId(digest: Digest): DiffId {
  return parseDiffId(digest, "the digest of a layer");
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
