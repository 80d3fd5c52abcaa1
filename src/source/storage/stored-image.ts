import { existsSync } from "node:fs";
import { join } from "node:path";
import { PushError } from "../../errors.ts";
import { type DiffId, type Digest, digestOf } from "../../oci/digest.ts";
import { parseImageConfig } from "../../oci/image.ts";
import { MAX_JSON_BYTES } from "../../oci/json-schema.ts";
import { misnamed } from "../files/image-files.ts";
import type { SafeFolder } from "./safe-open.ts";
import { type LayerBytes, openSplitLayer, type SplitLayer } from "./tar-split.ts";

/** A raw layer in an engine's storage. Its content is unverified. */
export type StoredLayer = LayerBytes & {
  readonly diffId: DiffId;
  /** The path of its files, for messages. */
  readonly name: string;
};

/** An image in an engine's storage. The config's digest is the engine's ID. */
export type StoredImage = {
  readonly config: Uint8Array<ArrayBuffer>;
  /** Base first. */
  readonly layers: readonly StoredLayer[];
};

/** Reads an image's config. Throws `FILE_FAILED`, `IMAGE_INVALID`, and `CONTENT_MISMATCH` for another digest than `id`. */
export function readStoredConfig(folder: SafeFolder, path: string, id: Digest) {
  const config = folder.readFile(path, MAX_JSON_BYTES);
  if (digestOf(config) !== id) throw misnamed(`the config "${path}"`);
  return { config, diffIds: parseImageConfig(config, `"${path}"`).diffIds };
}

/** Opens an image's layers one after another. Throws `FILE_FAILED` and `IMAGE_INVALID`. */
export async function openStoredLayers(
  diffIds: readonly DiffId[],
  split: readonly SplitLayer[],
  signal: AbortSignal,
): Promise<StoredLayer[]> {
  const layers: StoredLayer[] = [];
  for (const [i, diffId] of diffIds.entries()) {
    const layer = split[i];
    if (layer === undefined) throw unusable(`the layer ${diffId} is missing`);
    // The rest of the storage may be on a disk that is not mounted here.
    if (!existsSync(join(layer.root, layer.files)))
      throw unusable(`"${layer.files}" is not in "${layer.root}"`);
    layers.push({ ...(await openSplitLayer(layer, signal)), diffId, name: layer.files });
  }
  return layers;
}

/** Creates the error for storage that cannot be read. */
export function unusable(problem: string): PushError {
  return new PushError("IMAGE_INVALID", `Cannot read the engine's storage: ${problem}.`);
}
