import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { blobName, configPointerName } from "../cache/file-names.ts";
import { fileError, OTHER_CACHE } from "../file-error.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { type DiffId, digestOf, hexOf } from "../oci/digest.ts";
import { type ImageConfig, parseImageConfig } from "../oci/image.ts";
import { replaceFile } from "../temporary-file.ts";
import type { LayerCache } from "./layer-cache.ts";

// An engine gives the config of an image away only by saving the whole of it. Kept, it spares the next push of the
// same image that. `<id>-image` leads to it.

/** What is larger is no config, but a layer that a wrong pointer leads to. */
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

/**
 * The config of an engine's image, where an earlier push left it.
 *
 * @param diffIds those that the engine says of the image: a config with others is not its own
 */
export async function findCachedConfig(
  cache: LayerCache,
  imageId: string,
  diffIds: readonly DiffId[],
): Promise<ImageConfig | undefined> {
  try {
    const name = await readFile(join(cache.directory, configPointerName(imageId)), "utf8");
    if (!/^[0-9a-f]{64}$/.test(name)) return undefined;
    const path = join(cache.directory, name);
    if ((await stat(path)).size > MAX_CONFIG_BYTES) return undefined;
    const bytes = new Uint8Array(await readFile(path));
    if (hexOf(digestOf(bytes)) !== name) return undefined;
    const config = parseImageConfig(bytes, `"${name}" in the cache`);
    return config.diffIds.join() === diffIds.join() ? config : undefined;
  } catch {
    // Missing, unreadable or damaged: the engine is asked, which is what happens without a cache.
    return undefined;
  }
}

/** Keeps the config of an engine's image. Throws `FILE_FAILED`. */
export async function storeConfig(cache: LayerCache, imageId: string, config: RegistryBlob): Promise<void> {
  try {
    const { digest } = config.descriptor;
    await replaceFile(cache.directory, blobName(digest), await config.content.bytes(), { flush: true });
    await replaceFile(cache.directory, configPointerName(imageId), hexOf(digest), { flush: true });
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${cache.directory}"`, OTHER_CACHE);
  }
}
