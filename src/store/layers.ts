import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileError, OTHER_CACHE } from "../errors.ts";
import type { CompressionForm } from "../oci/compression.ts";
import { type Compression, MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, type Digest, hexOf, parseDigest } from "../oci/digest.ts";
import { detectCompression } from "../oci/image.ts";
import { blobName, pointerName } from "./file-names.ts";
import { replaceFile, sweepTemporaryFiles, temporaryFile } from "./temporary-file.ts";

/**
 * Compressed layers by diffID and form: `<diffid>-ptr` holds the hex digest of the compressed blob, which is the name of
 * the file beside it. Files are written under another name and renamed: as long as the machine does not lose its power,
 * whatever has its final name is whole.
 */
export type LayerCache = { readonly directory: string };

/** Opens a cache, making its folder. Throws `FILE_FAILED`. */
export async function openLayerCache(directory: string): Promise<LayerCache> {
  try {
    await mkdir(directory, { recursive: true });
    // Better now than after a minute of compressing.
    await using probe = temporaryFile(directory, "probe");
    await writeFile(probe.path, "");
    await sweepTemporaryFiles(directory);
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${directory}"`, OTHER_CACHE);
  }
  return { directory };
}

/**
 * A layer as an earlier push left it. Its bytes are not checked here.
 *
 * @param form undefined for one that is to stay raw: an engine's image that was pushed so
 */
export async function findCachedLayer(
  cache: LayerCache,
  diffId: DiffId,
  form: CompressionForm | undefined,
): Promise<RegistryBlob | undefined> {
  if (form === undefined) return findBlob(cache, parseDigest(diffId, "a diffID"), "none");
  const pointer = await unlessMissing(readFile(pointerPath(cache, diffId, form), "utf8"));
  if (pointer === undefined || !/^[0-9a-f]{64}\s*$/.test(pointer)) return undefined;
  return findBlob(cache, parseDigest(`sha256:${pointer.trim()}`, "a cache pointer"), form.kind);
}

async function findBlob(
  cache: LayerCache,
  digest: Digest,
  compression: Compression,
): Promise<RegistryBlob | undefined> {
  const size = (await unlessMissing(stat(blobPath(cache, digest))))?.size;
  if (size === undefined) return undefined;
  await noteUse(cache, digest);
  return cachedBlob(cache, compression, digest, size);
}

/**
 * A layer that goes up as its source has it, by the digest that it has there.
 *
 * @param compresses whether this push compresses raw layers: then a raw one is none that goes up
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

/** What was not used for long is pruned first. */
async function noteUse(cache: LayerCache, digest: Digest): Promise<void> {
  const now = new Date();
  // A blob of another user's, in a cache that several share, keeps its date: no reason to end a push.
  await utimes(blobPath(cache, digest), now, now).catch(() => undefined);
}

/** Takes a finished file over, whose digest and size are known, as the compressed form of a layer. */
export async function storeLayer(
  cache: LayerCache,
  diffId: DiffId,
  form: CompressionForm,
  file: { path: string; digest: Digest; sizeBytes: number },
): Promise<RegistryBlob> {
  await rename(file.path, blobPath(cache, file.digest));
  await replaceFile(cache.directory, pointerName(diffId, form), hexOf(file.digest));
  return cachedBlob(cache, form.kind, file.digest, file.sizeBytes);
}

/** Takes a finished file over that goes up as it came. Nothing leads to it by a diffID. */
export async function storePackedLayer(
  cache: LayerCache,
  path: string,
  descriptor: RegistryBlob["descriptor"],
): Promise<RegistryBlob> {
  const target = blobPath(cache, descriptor.digest);
  await rename(path, target);
  return { descriptor, content: Bun.file(target) };
}

/** Forgets a blob that turned out to be damaged. */
export async function dropCachedLayer(cache: LayerCache, blob: RegistryBlob): Promise<void> {
  try {
    await rm(blobPath(cache, blob.descriptor.digest), { force: true });
  } catch (cause) {
    throw fileError(cause, `remove a damaged layer from "${cache.directory}"`, OTHER_CACHE);
  }
}

function cachedBlob(cache: LayerCache, compression: Compression, digest: Digest, size: number): RegistryBlob {
  const content = Bun.file(blobPath(cache, digest)).slice(0, size);
  return { descriptor: { mediaType: MEDIA_TYPE.layer[compression], digest, size }, content };
}

function pointerPath(cache: LayerCache, diffId: DiffId, form: CompressionForm): string {
  return join(cache.directory, pointerName(diffId, form));
}

function blobPath(cache: LayerCache, digest: Digest): string {
  return join(cache.directory, blobName(digest));
}

async function unlessMissing<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw fileError(error, "read the cache", OTHER_CACHE);
  });
}
