import { fileError, OTHER_CACHE } from "../errors.ts";
import { type Digest, digestOf, hexOf } from "../oci/digest.ts";
import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { type LayerCache, noteUse } from "./layers.ts";
import { readOwnFile } from "./own-file.ts";
import { replaceFile, unlessNameTaken } from "./temporary-file.ts";

// An engine exports an image's documents (index, manifest, config) only by saving the whole image. The cache keeps them
// as blobs under their digests, so that the next push finds them from the engine's image ID without a save.

/** Reads a cached document. Undefined if it is missing, unreadable or does not match its digest. */
export async function findCachedDocument(
  cache: LayerCache,
  digest: Digest,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = readOwnFile(cache, hexOf(digest), MAX_JSON_BYTES);
  if (bytes === undefined || digestOf(bytes) !== digest) return undefined;
  noteUse(cache, digest);
  return bytes;
}

/** Stores documents for the next push. Throws `FILE_FAILED`. */
export async function storeDocuments(
  cache: LayerCache,
  documents: ReadonlyMap<Digest, Uint8Array>,
): Promise<void> {
  try {
    for (const [digest, bytes] of documents)
      await unlessNameTaken(replaceFile(cache.directory, hexOf(digest), bytes, { flush: true }));
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${cache.directory}"`, OTHER_CACHE);
  }
}
