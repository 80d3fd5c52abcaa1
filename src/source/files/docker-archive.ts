import * as v from "valibot";
import { assertLayerCount, type Image } from "../../oci/image.ts";
import { object } from "../../oci/json-schema.ts";
import type { SavedImage } from "../select-image.ts";
import type { ImageFiles } from "./image-files.ts";
import { openLayer, readConfig } from "./image-parts.ts";
import { readJson } from "./read-document.ts";

const MANIFEST_PATH = "manifest.json";

const PATH = v.pipe(v.string(), v.nonEmpty("it is empty"));

/** https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md#combined-image-json--filesystem-changeset-format */
export const DOCKER_MANIFEST = v.pipe(
  v.array(
    object({
      Config: PATH,
      RepoTags: v.nullish(v.array(v.string())),
      // Go serializes an empty list as null.
      Layers: v.nullish(v.array(PATH)),
    }),
  ),
  v.nonEmpty("it lists no image"),
);

/**
 * Lists the images of a `docker save` archive of any engine; undefined if there is no `manifest.json`.
 *
 * Docker 25 and later also write an OCI layout. `manifest.json` has priority, since Docker 25.0 writes layouts whose
 * manifests have no layers (https://github.com/moby/moby/issues/47065).
 */
export async function readDockerArchive(files: ImageFiles): Promise<SavedImage[] | undefined> {
  if ((await files.open(MANIFEST_PATH)) === undefined) return undefined;
  const entries = await readJson(files, MANIFEST_PATH, DOCKER_MANIFEST);
  return entries.map((entry) => ({
    names: entry.RepoTags ?? [],
    describe: entry.Config,
    load: async () => loadImage(files, entry.Config, entry.Layers ?? [], entry.RepoTags ?? []),
  }));
}

async function loadImage(
  files: ImageFiles,
  configPath: string,
  layerPaths: readonly string[],
  names: readonly string[],
): Promise<Image> {
  const config = await readConfig(files, configPath);
  assertLayerCount(config.diffIds, layerPaths, `"${MANIFEST_PATH}" in the ${files.title}`);
  const layers = await Promise.all(
    config.diffIds.map((diffId, i) => openLayer(files, layerPaths[i] ?? "", diffId)),
  );
  return { config: config.blob, layers, manifest: undefined, names, platform: config.platform };
}
