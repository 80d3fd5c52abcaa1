import { chainIdsOf, type Digest, hexOf } from "../../oci/digest.ts";
import type { EngineInfo } from "./engine-info.ts";
import { openSafeFolder } from "./safe-open.ts";
import { openStoredLayers, readStoredConfig, type StoredImage, unusable } from "./stored-image.ts";

/** The folders in which drivers keep a layer's files. */
const LAYER_FOLDERS: ReadonlyMap<string, (cacheId: string) => string> = new Map([
  ["overlay2", (cacheId) => `overlay2/${cacheId}/diff`],
  ["fuse-overlayfs", (cacheId) => `fuse-overlayfs/${cacheId}/diff`],
  // This driver's folders include the files of the layers below.
  ["vfs", (cacheId) => `vfs/dir/${cacheId}`],
]);

/**
 * Opens an image in the classic store of a Docker engine. Throws `FILE_FAILED`, `CONTENT_MISMATCH`, and `IMAGE_INVALID`,
 * also for an unsupported driver.
 *
 * @param id the digest of its config
 */
export async function openDockerImage(
  id: Digest,
  { root, driver, areLayersWhole }: EngineInfo,
  signal: AbortSignal,
): Promise<StoredImage> {
  const folderOf = LAYER_FOLDERS.get(driver);
  if (folderOf === undefined) throw unusable(`its driver is "${driver}"`);
  if (!areLayersWhole) throw unusable("its driver stores the content of a layer in several folders");
  using folder = openSafeFolder(root);
  const at = (path: string) => `image/${driver}/${path}`;
  const { config, diffIds } = readStoredConfig(folder, at(`imagedb/content/sha256/${hexOf(id)}`), id);
  const layers = chainIdsOf(diffIds).map((chainId) => {
    const path = at(`layerdb/sha256/${hexOf(chainId)}`);
    const cacheId = new TextDecoder().decode(folder.readFile(`${path}/cache-id`, 200));
    if (!/^[\w-]+$/.test(cacheId)) throw unusable(`"${path}/cache-id" contains no ID`);
    return { root, headers: `${path}/tar-split.json.gz`, files: folderOf(cacheId) };
  });
  return { config, layers: await openStoredLayers(diffIds, layers, signal) };
}
