import { lutimesSync } from "node:fs";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileError, OTHER_CACHE } from "../errors.ts";
import type { CompressionForm } from "../oci/compression.ts";
import { type Compression, type Descriptor, MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, type Digest, hexOf, parseDigest } from "../oci/digest.ts";
import { detectCompression } from "../oci/image.ts";
import { pointerName } from "./file-names.ts";
import {
  type CacheFolder,
  distrustOf,
  PRIVATE_FILE,
  PRIVATE_FOLDER,
  readOwnFile,
  statOwnFile,
} from "./own-file.ts";
import { replaceFile, sweepTemporaryFiles, temporaryFile, unlessNameTaken } from "./temporary-file.ts";

/**
 * A folder of layers and image documents, each named by its hex digest. Pointers such as `<diffid>-ptr` hold the digest
 * of a layer's compressed form. Files are written under a temporary name and renamed, so that a file under its final
 * name is complete, except after a power failure.
 */
export type LayerCache = CacheFolder;

/** A pointer has 64 bytes, and a line end if an editor wrote it. */
export const MAX_POINTER_BYTES = 100;

/** Opens a cache, and creates its folder if necessary. Throws `FILE_FAILED`. */
export async function openLayerCache(
  directory: string,
  trust: Pick<CacheFolder, "owners" | "onDistrust"> = {},
): Promise<LayerCache> {
  try {
    await mkdir(directory, { recursive: true, mode: PRIVATE_FOLDER });
    // Detect an unwritable folder now, not after minutes of compressing.
    await using probe = temporaryFile(directory, "probe");
    await writeFile(probe.path, "", { mode: PRIVATE_FILE, flag: "wx" });
    await sweepTemporaryFiles(directory);
    const why = distrustOf(await stat(directory), trust.owners);
    if (why !== undefined) trust.onDistrust?.(directory, why);
    return { directory, ...trust, isForeign: why !== undefined };
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${directory}"`, OTHER_CACHE);
  }
}

/** Opens a cache for reading alone. Its folder may be missing. Throws `FILE_FAILED`. */
export async function viewLayerCache(
  directory: string,
  trust: Pick<CacheFolder, "owners" | "onDistrust"> = {},
): Promise<LayerCache> {
  const status = await stat(directory).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw fileError(cause, `read the cache folder "${directory}"`, OTHER_CACHE);
  });
  const why = status && distrustOf(status, trust.owners);
  if (why !== undefined) trust.onDistrust?.(directory, why);
  return { directory, ...trust, isForeign: why !== undefined, isReadOnly: true };
}

/**
 * Finds a cached layer by its diffID. Does not verify its bytes.
 *
 * @param form undefined for a raw layer, which the cache has if an engine's image was pushed with `--compression none`
 */
export async function findCachedLayer(
  cache: LayerCache,
  diffId: DiffId,
  form: CompressionForm | undefined,
): Promise<RegistryBlob | undefined> {
  if (form === undefined) return findBlob(cache, parseDigest(diffId, "a diffID"), "none");
  const pointer = new TextDecoder().decode(readOwnFile(cache, pointerName(diffId, form), MAX_POINTER_BYTES));
  if (!/^[0-9a-f]{64}\s*$/.test(pointer)) return undefined;
  return findBlob(cache, parseDigest(`sha256:${pointer.trim()}`, "a cache pointer"), form.kind);
}

function findBlob(cache: LayerCache, digest: Digest, compression: Compression): RegistryBlob | undefined {
  const size = statOwnFile(cache, hexOf(digest))?.size;
  if (size === undefined) return undefined;
  noteUse(cache, digest);
  return cachedBlob(cachePath(cache, digest), { mediaType: MEDIA_TYPE.layer[compression], digest, size });
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
  const blob = findBlob(cache, digest, "none");
  if (blob === undefined) return undefined;
  // A blob that cannot be read counts as missing.
  const compression = await detectCompression(blob.content).catch(() => undefined);
  if (compression === undefined) return undefined;
  if (compression === "none" && compresses) return undefined;
  return { ...blob, descriptor: { ...blob.descriptor, mediaType: MEDIA_TYPE.layer[compression] } };
}

/** Updates the blob's date, by which pruning chooses. Does not follow a link that has replaced the blob. */
export function noteUse(cache: LayerCache, digest: Digest): void {
  if (cache.isReadOnly) return;
  const now = new Date();
  try {
    lutimesSync(cachePath(cache, digest), now, now);
  } catch {
    // A blob of root keeps its date.
  }
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
  await unlessNameTaken(replaceFile(cache.directory, pointerName(diffId, form), hexOf(digest)));
  return blob;
}

/** Moves a layer that is uploaded unchanged into the cache. Writes no pointer. Throws the system's errors. */
export async function storePackedLayer(
  cache: LayerCache,
  path: string,
  descriptor: Descriptor,
): Promise<RegistryBlob> {
  const place = cachePath(cache, descriptor.digest);
  const isThere = await unlessNameTaken(rename(path, place).then(() => true));
  if (isThere) return cachedBlob(place, descriptor);
  // Only this push uses the file. A later one sweeps it.
  const aside = temporaryFile(cache.directory, "blob").path;
  await rename(path, aside);
  return cachedBlob(aside, descriptor);
}

/** Removes a damaged blob. Throws `FILE_FAILED`. */
export async function dropCachedLayer(
  cache: LayerCache,
  blob: Pick<RegistryBlob, "descriptor">,
): Promise<void> {
  await rm(cachePath(cache, blob.descriptor.digest), { force: true }).catch((cause: unknown) => {
    throw fileError(cause, `remove a damaged layer from "${cache.directory}"`, OTHER_CACHE);
  });
}

function cachedBlob(path: string, descriptor: Descriptor): RegistryBlob {
  return { descriptor, content: Bun.file(path).slice(0, descriptor.size) };
}

function cachePath({ directory }: LayerCache, digest: Digest): string {
  return join(directory, hexOf(digest));
}
