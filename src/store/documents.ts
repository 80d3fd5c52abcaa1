import { readFile, stat } from "node:fs/promises";
import { fileError, OTHER_CACHE } from "../errors.ts";
import { type Digest, digestOf, hexOf } from "../oci/digest.ts";
import { cachePath, type LayerCache, noteUse } from "./layers.ts";
import { replaceFile } from "./temporary-file.ts";

// An engine exports an image's documents (index, manifest, config) only by saving the whole image. The cache keeps them
// as blobs under their digests, so that the next push finds them from the engine's image ID without a save.

/** Larger blobs are layers. */
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

/** Reads a cached document. Undefined if it is missing, unreadable or does not match its digest. */
export async function findCachedDocument(
  cache: LayerCache,
  digest: Digest,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const path = cachePath(cache, digest);
    if ((await stat(path)).size > MAX_DOCUMENT_BYTES) return undefined;
    const bytes = new Uint8Array(await readFile(path));
    if (digestOf(bytes) !== digest) return undefined;
    await noteUse(cache, digest);
    return bytes;
  } catch {
    // Without the document, the engine saves the image.
    return undefined;
  }
}

/** Stores documents for the next push. Throws `FILE_FAILED`. */
export async function storeDocuments(
  cache: LayerCache,
  documents: ReadonlyMap<Digest, Uint8Array>,
): Promise<void> {
  try {
    for (const [digest, bytes] of documents)
      await replaceFile(cache.directory, hexOf(digest), bytes, { flush: true });
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${cache.directory}"`, OTHER_CACHE);
  }
}
