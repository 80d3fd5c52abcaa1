import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileError, OTHER_CACHE } from "../errors.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { blobName } from "./file-names.ts";
import type { LayerCache } from "./layers.ts";
import { replaceFile } from "./temporary-file.ts";

// An engine gives the documents of an image away only by saving the whole of it. Kept by their digests, which begin with
// the engine's ID of the image, they spare the next push of the same image that.

/** What is larger is no document, but a layer. */
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

/** A document that an earlier push kept. Undefined where it is missing, or is not what its name says. */
export async function findCachedDocument(
  cache: LayerCache,
  digest: Digest,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const path = join(cache.directory, blobName(digest));
    if ((await stat(path)).size > MAX_DOCUMENT_BYTES) return undefined;
    const bytes = new Uint8Array(await readFile(path));
    return digestOf(bytes) === digest ? bytes : undefined;
  } catch {
    // Missing or unreadable: the engine is asked, which is what happens without a cache.
    return undefined;
  }
}

/** Keeps documents for the next push. Throws `FILE_FAILED`. */
export async function storeDocuments(
  cache: LayerCache,
  documents: ReadonlyMap<Digest, Uint8Array>,
): Promise<void> {
  try {
    for (const [digest, bytes] of documents)
      await replaceFile(cache.directory, blobName(digest), bytes, { flush: true });
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${cache.directory}"`, OTHER_CACHE);
  }
}
