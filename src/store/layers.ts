import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileError, OTHER_CACHE } from "../errors.ts";
import type { CompressionForm } from "../oci/compression.ts";
import { type Compression, type Descriptor, MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, type Digest, hexOf, parseDigest } from "../oci/digest.ts";
import { detectCompression } from "../oci/image.ts";
import { pointerName } from "./file-names.ts";
import { replaceFile, sweepTemporaryFiles, temporaryFile } from "./temporary-file.ts";

/**
 * A folder of layers and image documents, each named by its hex digest. Pointers such as `<diffid>-ptr` hold the digest
 * of a layer's compressed form. Files are written under a temporary name and renamed, so that a file under its final
 * name is complete, except after a power failure.
 */
export type LayerCache = { readonly directory: string };

/** Opens a cache, and creates its folder if necessary. Throws `FILE_FAILED`. */
export async function openLayerCache(directory: string): Promise<LayerCache> {
  try {
    await mkdir(directory, { recursive: true });
    // Detect an unwritable folder now, not after minutes of compressing.
    await using probe = temporaryFile(directory, "probe");
    await writeFile(probe.path, "");
    await sweepTemporaryFiles(directory);
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${directory}"`, OTHER_CACHE);
  }
  return { directory };
}

/**
 * Finds a cached layer by its diffID. Does not verify its bytes. Throws `FILE_FAILED`.
 *
 * @param form undefined for a raw layer, which the cache has if an engine's image was pushed with `--compression none`
 */
export async function findCachedLayer(
  cache: LayerCache,
  diffId: DiffId,
  form: CompressionForm | undefined,
): Promise<RegistryBlob | undefined> {
  if (form === undefined) return findBlob(cache, parseDigest(diffId, "a diffID"), "none");
  const path = join(cache.directory, pointerName(diffId, form));
  const pointer = await unlessMissing(readFile(path, "utf8"));
  if (pointer === undefined || !/^[0-9a-f]{64}\s*$/.test(pointer)) return undefined;
  return findBlob(cache, parseDigest(`sha256:${pointer.trim()}`, "a cache pointer"), form.kind);
}

async function findBlob(
  cache: LayerCache,
  digest: Digest,
  compression: Compression,
): Promise<RegistryBlob | undefined> {
  const size = (await unlessMissing(stat(cachePath(cache, digest))))?.size;
  if (size === undefined) return undefined;
  await noteUse(cache, digest);
  return cachedBlob(cache, { mediaType: MEDIA_TYPE.layer[compression], digest, size });
}

/**
 * Finds a cached layer that is uploaded as stored in its source, by its digest there. Does not verify its bytes.
 *
 * @param compresses whether this push compresses raw layers; if so, raw blobs are ignored
 */
export async function findPackedLayer(
  cache: LayerCache,
  digest: Digest,
  compresses: boolean,
): Promise<RegistryBlob | undefined> {
  const blob = await findBlob(cache, digest, "none");
  if (blob === undefined) return undefined;
  const compression = await detectCompression(blob.content);
  if (compression === "none" && compresses) return undefined;
  return { ...blob, descriptor: { ...blob.descriptor, mediaType: MEDIA_TYPE.layer[compression] } };
}

/** Updates the blob's date, by which pruning chooses. */
export async function noteUse(cache: LayerCache, digest: Digest): Promise<void> {
  const now = new Date();
  // In a shared cache the blob may belong to another user. Its date then stays as it is.
  await utimes(cachePath(cache, digest), now, now).catch(() => undefined);
}

/** Moves a compressed layer into the cache, and writes its pointer. Throws the system's errors. */
export async function storeLayer(
  cache: LayerCache,
  diffId: DiffId,
  form: CompressionForm,
  file: { path: string; digest: Digest; sizeBytes: number },
): Promise<RegistryBlob> {
  const { path, digest, sizeBytes: size } = file;
  const mediaType = MEDIA_TYPE.layer[form.kind];
  const blob = await storePackedLayer(cache, path, { mediaType, digest, size });
  await replaceFile(cache.directory, pointerName(diffId, form), hexOf(digest));
  return blob;
}

/** Moves a layer that is uploaded unchanged into the cache. Writes no pointer. Throws the system's errors. */
export async function storePackedLayer(
  cache: LayerCache,
  path: string,
  descriptor: Descriptor,
): Promise<RegistryBlob> {
  await rename(path, cachePath(cache, descriptor.digest));
  return cachedBlob(cache, descriptor);
}

/** Removes a damaged blob. Throws `FILE_FAILED`. */
export async function dropCachedLayer(cache: LayerCache, blob: RegistryBlob): Promise<void> {
  await rm(cachePath(cache, blob.descriptor.digest), { force: true }).catch((cause: unknown) => {
    throw fileError(cause, `remove a damaged layer from "${cache.directory}"`, OTHER_CACHE);
  });
}

function cachedBlob(cache: LayerCache, descriptor: Descriptor): RegistryBlob {
  return { descriptor, content: Bun.file(cachePath(cache, descriptor.digest)).slice(0, descriptor.size) };
}

/** Returns the path of a blob: a layer, or a document of an image. */
export function cachePath({ directory }: LayerCache, digest: Digest): string {
  return join(directory, hexOf(digest));
}

async function unlessMissing<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw fileError(error, "read the cache", OTHER_CACHE);
  });
}
