import { z } from "zod";
import { PushError } from "../errors.ts";
import { MEDIA_TYPE } from "../oci/descriptor.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { assertLayerCount, type Image } from "../oci/image.ts";
import type { ImageFiles } from "./image-files.ts";
import { blobPath, openLayer, readConfig } from "./image-parts.ts";
import { readJson } from "./read-json.ts";
import type { SavedImage } from "./saved-image.ts";

const INDEX_PATH = "index.json";
/** Indexes may list indexes. Real ones do so once. */
const MAX_DEPTH = 4;

const DESCRIPTOR = z.object({
  mediaType: z.string().optional(),
  digest: z.string(),
  platform: z.object({ os: z.string().optional(), architecture: z.string().optional() }).optional(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
const INDEX = z.object({ manifests: z.array(DESCRIPTOR) });
const MANIFEST = z.object({ config: DESCRIPTOR, layers: z.array(DESCRIPTOR).nullish() });

const INDEX_TYPES: readonly string[] = [
  MEDIA_TYPE.index,
  "application/vnd.docker.distribution.manifest.list.v2+json",
];

/** The containerd name of an image, whole; the OCI annotation often has the tag alone. */
const NAME_ANNOTATIONS = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/**
 * The images of an OCI layout; undefined where there is no `index.json`.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export async function readOciLayout(files: ImageFiles): Promise<SavedImage[] | undefined> {
  if ((await files.open(INDEX_PATH)) === undefined) return undefined;
  return listImages(files, INDEX_PATH, [], 0);
}

async function listImages(
  files: ImageFiles,
  path: string,
  names: readonly string[],
  depth: number,
): Promise<SavedImage[]> {
  if (depth > MAX_DEPTH)
    throw new PushError("IMAGE_INVALID", `Cannot read the ${files.title}: its indexes go too deep.`);
  const images: SavedImage[] = [];
  for (const descriptor of (await readJson(files, path, INDEX)).manifests) {
    const digest = parseDigest(descriptor.digest, `a digest in "${path}" of the ${files.title}`);
    const manifestPath = blobPath(digest);
    // Other platforms and attestations are listed, yet left out on purpose by engines that save one platform.
    if ((await files.open(manifestPath)) === undefined || descriptor.platform?.os === "unknown") continue;
    const ownNames = NAME_ANNOTATIONS.flatMap((key) => descriptor.annotations?.[key] ?? []).slice(0, 1);
    const allNames = ownNames.length > 0 ? ownNames : names;
    if (INDEX_TYPES.includes(descriptor.mediaType ?? "")) {
      images.push(...(await listImages(files, manifestPath, allNames, depth + 1)));
    } else {
      const platform = [descriptor.platform?.os, descriptor.platform?.architecture].filter(Boolean).join("/");
      images.push({
        names: allNames,
        describe: `${digest} ${platform}`.trimEnd(),
        load: () => loadImage(files, digest, allNames),
      });
    }
  }
  return images;
}

async function loadImage(files: ImageFiles, digest: Digest, names: readonly string[]): Promise<Image> {
  const path = blobPath(digest);
  const manifest = await readJson(files, path, MANIFEST);
  const config = await readConfig(
    files,
    blobPath(parseDigest(manifest.config.digest, `config.digest of "${path}"`)),
  );
  const layerDigests = (manifest.layers ?? []).map((layer) =>
    parseDigest(layer.digest, `a layer of "${path}"`),
  );
  // Engine 25.0 wrote manifests without layers (https://github.com/moby/moby/issues/47065), but its blobs are
  // raw, so that the diffIDs of the config are their names.
  const layerNames = layerDigests.length === 0 ? config.diffIds : layerDigests;
  assertLayerCount(config.diffIds, layerNames, `"${path}" in the ${files.title}`);
  const layers = await Promise.all(
    config.diffIds.map((diffId, i) => openLayer(files, blobPath(layerNames[i] ?? diffId), diffId)),
  );
  return { config: config.blob, layers, names, platform: config.platform };
}
