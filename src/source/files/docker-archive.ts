import * as v from "valibot";
import { type Digest, isDigest } from "../../oci/digest.ts";
import type { Image } from "../../oci/image.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import type { Candidate } from "../select-image.ts";
import { type ImageFiles, readDocument } from "./image-files.ts";
import { openImage, readConfig } from "./image-parts.ts";

const MANIFEST_PATH = "manifest.json";

/** The limits on the work of comparing each name with each image of the layout beside `manifest.json`. */
const MAX_IMAGES = 1000;
const MAX_NAMES = 10_000;

const PATH = v.pipe(v.string(), v.nonEmpty("it is empty"));

/** https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md#combined-image-json--filesystem-changeset-format */
const DOCKER_MANIFEST = v.pipe(
  v.array(
    object({
      Config: PATH,
      // Go serializes an empty list as null.
      RepoTags: v.nullish(v.array(v.string()), []),
      Layers: v.nullish(v.array(PATH), []),
    }),
  ),
  v.nonEmpty("it lists no image"),
  v.check(
    (images) => images.length <= MAX_IMAGES && images.flatMap(({ RepoTags }) => RepoTags).length <= MAX_NAMES,
    "it lists too many images",
  ),
);

/** An image that `manifest.json` lists. */
export type ArchivedImage = Omit<Candidate, "read"> & {
  readonly configPath: string;
  read(): Promise<Image>;
};

/** Lists the images of a `docker save` archive of any engine; undefined if there is no `manifest.json`. */
export async function readDockerArchive(files: ImageFiles): Promise<ArchivedImage[] | undefined> {
  if ((await files.open(MANIFEST_PATH)) === undefined) return undefined;
  const title = `"${MANIFEST_PATH}" in the ${files.title}`;
  const entries = parseJson(await readDocument(files, MANIFEST_PATH), DOCKER_MANIFEST, title);
  return entries.map(({ Config: configPath, RepoTags: names, Layers }) => ({
    names,
    digests: digestsOf(configPath),
    platform: undefined,
    configPath,
    async read(): Promise<Image> {
      const image = await openImage(files, await readConfig(files, configPath), Layers, title);
      return { ...image, manifest: undefined };
    },
  }));
}

/** The ID that engines give the image. */
function digestsOf(configPath: string): Digest[] {
  const [, hex] = /([0-9a-f]{64})(?:\.json)?$/.exec(configPath) ?? [];
  const digest = `sha256:${hex}`;
  return isDigest(digest) ? [digest] : [];
}
