import { existsSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { PushError } from "../../errors.ts";
import { type Digest, hexOf } from "../../oci/digest.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import type { EngineInfo } from "./engine-info.ts";
import { openSafeFolder } from "./safe-open.ts";
import { openStoredLayers, readStoredConfig, type StoredImage, unusable } from "./stored-image.ts";
import type { SplitLayer } from "./tar-split.ts";

/** The folders in which drivers keep a layer's files. */
const LAYER_FOLDERS: ReadonlyMap<string, (id: string) => string> = new Map([
  ["overlay", (id) => `overlay/${id}/diff`],
  // This driver's folders include the files of the layers below.
  ["vfs", (id) => `vfs/dir/${id}`],
]);

/** The list of thousands of layers has some megabytes. */
const MAX_LIST_BYTES = 256 * 1024 * 1024;

const ID = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "it is no ID"));
const OPTIONAL_ID = v.optional(v.union([v.literal(""), ID]), "");
const IMAGES = v.array(object({ id: ID, layer: OPTIONAL_ID }));
const LAYERS = v.array(object({ id: ID, parent: OPTIONAL_ID, "diff-digest": v.optional(v.string()) }));

/**
 * Opens an image in Podman's storage, or in one of the additional stores. Throws `FILE_FAILED`, `CONTENT_MISMATCH`, and
 * `IMAGE_INVALID`, also for an unsupported driver.
 *
 * https://github.com/containers/storage/blob/v1.59.1/images.go, and layers.go beside it
 *
 * @param id the digest of its config
 */
export async function openPodmanImage(
  id: Digest,
  { root, otherRoots, driver }: Pick<EngineInfo, "root" | "otherRoots" | "driver">,
  signal: AbortSignal,
): Promise<StoredImage> {
  const folderOf = LAYER_FOLDERS.get(driver);
  if (folderOf === undefined) throw unusable(`its driver is "${driver}"`);
  const stores = [root, ...otherRoots].map((each) => readStore(each, driver));
  const store = stores.find(({ images }) => images.has(hexOf(id)));
  if (store === undefined) throw unusable(`it has no image ${id}`);
  using folder = openSafeFolder(store.root);
  // Podman encodes names of files that are not simple in base64.
  const file = `=${Buffer.from(id).toString("base64")}`;
  const { config, diffIds } = readStoredConfig(folder, `${driver}-images/${hexOf(id)}/${file}`, id);
  const layers: SplitLayer[] = [];
  let top = store.images.get(hexOf(id)) ?? "";
  for (const diffId of diffIds.toReversed()) {
    const owner = stores.find((each) => each.layers.has(top));
    const layer = owner?.layers.get(top);
    if (owner === undefined || layer === undefined) throw unusable(`it has no layer "${top}"`);
    // Podman may not know the diffID of a layer that it pulled in parts.
    if (layer["diff-digest"] !== diffId)
      throw unusable(`the digest of the layer "${top}" is not recorded as ${diffId}`);
    if (existsSync(join(owner.root, driver, top, "composefs-data")))
      throw unusable(`the layer "${top}" is stored with composefs`);
    layers.unshift({
      root: owner.root,
      headers: `${driver}-layers/${top}.tar-split.gz`,
      files: folderOf(top),
    });
    top = layer.parent;
  }
  return { config, layers: await openStoredLayers(diffIds, layers, signal) };
}

type Store = {
  readonly root: string;
  /** The IDs of images, each with that of its top layer. */
  readonly images: ReadonlyMap<string, string>;
  readonly layers: ReadonlyMap<string, v.InferOutput<typeof LAYERS>[number]>;
};

function readStore(root: string, driver: string): Store {
  const read = <T>(kind: string, schema: v.GenericSchema<unknown, readonly T[]>): readonly T[] => {
    const path = `${driver}-${kind}/${kind}.json`;
    try {
      using folder = openSafeFolder(root);
      return parseJson(folder.readFile(path, MAX_LIST_BYTES), schema, `"${path}" in "${root}"`);
    } catch (error) {
      // A store without images has no lists, and an additional store may be missing.
      if (error instanceof PushError && (error.cause as { code?: unknown } | undefined)?.code === "ENOENT")
        return [];
      throw error;
    }
  };
  return {
    root,
    images: new Map(read("images", IMAGES).map(({ id, layer }) => [id, layer])),
    layers: new Map(read("layers", LAYERS).map((layer) => [layer.id, layer])),
  };
}
