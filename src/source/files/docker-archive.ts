import * as v from "valibot";
import { object, parseJson } from "../../oci/json-schema.ts";
import type { SavedImage } from "../select-image.ts";
import { type ImageFiles, readDocument } from "./image-files.ts";
import { openImage, readConfig } from "./image-parts.ts";

const MANIFEST_PATH = "manifest.json";

const PATH = v.pipe(v.string(), v.nonEmpty("it is empty"));

/** https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md#combined-image-json--filesystem-changeset-format */
export const DOCKER_MANIFEST = v.pipe(
  v.array(
    object({
      Config: PATH,
      // Go serializes an empty list as null.
      RepoTags: v.nullish(v.array(v.string()), []),
      Layers: v.nullish(v.array(PATH), []),
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
  const title = `"${MANIFEST_PATH}" in the ${files.title}`;
  const entries = parseJson(await readDocument(files, MANIFEST_PATH), DOCKER_MANIFEST, title);
  return entries.map(({ Config, RepoTags: names, Layers }) => ({
    names,
    describe: Config,
    async load() {
      const image = await openImage(files, await readConfig(files, Config), Layers, title);
      return { ...image, manifest: undefined, names };
    },
  }));
}
