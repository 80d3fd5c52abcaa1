import { PushError } from "../../errors.ts";
import { INDEX_TYPES, MANIFEST_TYPES } from "../../oci/descriptor.ts";
import { blobPath, type Digest, digestOf } from "../../oci/digest.ts";
import type { Image } from "../../oci/image.ts";
import { type LeftOut, parseIndex } from "../../oci/image-index.ts";
import { parseManifest } from "../../oci/manifest.ts";
import { resolveImage } from "../resolve-image.ts";
import type { SavedImage } from "../select-image.ts";
import { type ImageFiles, misnamed, readDocument } from "./image-files.ts";
import { openImage, readConfig } from "./image-parts.ts";

const INDEX_PATH = "index.json";
/** Indexes may list indexes; real layouts do so once. The limits protect against malicious layouts. */
const MAX_DEPTH = 4;
const MAX_DOCUMENTS = 1000;
/** What is read for a notice alone. */
const MAX_NOTICE_BYTES = 64 * 1024 * 1024;

/** containerd's annotation has the full name; OCI's often has only the tag. */
const NAME_ANNOTATIONS = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/**
 * Lists the images of an OCI layout; undefined if there is no `index.json`.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export async function readOciLayout(files: ImageFiles): Promise<SavedImage[] | undefined> {
  if ((await files.open(INDEX_PATH)) === undefined) return undefined;
  const { title } = files;
  const images: SavedImage[] = [];
  const seen = new Set<Digest>();

  async function addImages(bytes: Uint8Array, path: string, names: readonly string[], depth: number) {
    if (depth > MAX_DEPTH)
      throw new PushError("IMAGE_INVALID", `Cannot read the ${title}: its indexes go too deep.`);
    for (const entry of parseIndex(bytes, `"${path}" in the ${title}`)) {
      const { digest } = entry;
      const manifestPath = blobPath(digest);
      if (seen.has(digest)) continue;
      seen.add(digest);
      if (seen.size > MAX_DOCUMENTS)
        throw new PushError("IMAGE_INVALID", `Cannot read the ${title}: its indexes list too much.`);
      // Engines that save one platform list the others and attestations too, but leave their blobs out.
      if ((await files.open(manifestPath)) === undefined || entry.isAttestation) continue;
      const ownNames = NAME_ANNOTATIONS.flatMap((key) => entry.annotations[key] ?? []).slice(0, 1);
      const allNames = ownNames.length > 0 ? ownNames : names;
      if (INDEX_TYPES.includes(entry.mediaType ?? "")) {
        await addImages(await readBlob(files, digest), manifestPath, allNames, depth + 1);
      } else {
        images.push({
          names: allNames,
          describe: [digest, entry.platform].filter(Boolean).join(" "),
          load: () => loadImage(files, digest, allNames),
        });
      }
    }
  }

  await addImages(await readDocument(files, INDEX_PATH), INDEX_PATH, [], 0);
  return images;
}

async function loadImage(files: ImageFiles, digest: Digest, names: readonly string[]): Promise<Image> {
  const path = blobPath(digest);
  const title = `"${path}" in the ${files.title}`;
  const bytes = await readBlob(files, digest);
  const { mediaType, ...contents } = parseManifest(bytes, title);
  const config = await readConfig(files, blobPath(contents.config.digest));
  // Docker 25.0 writes manifests without layers (https://github.com/moby/moby/issues/47065). Its blobs are raw, so take
  // the config's diffIDs as their digests.
  const digests = contents.layers.map((layer) => layer.digest);
  const layerPaths = (digests.length === 0 ? config.diffIds : digests).map(blobPath);
  // serverless-registry rejects a manifest without mediaType.
  const isAccepted = mediaType !== undefined && MANIFEST_TYPES.includes(mediaType);
  return {
    ...(await openImage(files, config, layerPaths, title)),
    manifest: { ...contents, mediaType: isAccepted ? mediaType : undefined, digest, bytes },
    names,
  };
}

/** Finds what the source's index lists beside the image. Undefined if the image is not found through an index. */
export async function findLeftOut(files: ImageFiles, image: Image): Promise<LeftOut | undefined> {
  if ((await files.open(INDEX_PATH)) === undefined) return undefined;
  const diffIds = image.layers.map(({ diffId }) => diffId);
  let bytesLeft = MAX_NOTICE_BYTES;
  const find = async (digest: Digest) => {
    const content = bytesLeft > 0 ? await files.open(blobPath(digest)) : undefined;
    bytesLeft -= content?.size ?? 0;
    return content && readBlob(files, digest);
  };
  for (const { digest } of parseIndex(await readDocument(files, INDEX_PATH), INDEX_PATH)) {
    const found = await resolveImage({ id: digest, diffIds, platform: image.platform }, find);
    if (found?.leftOut !== undefined) return found.leftOut;
  }
  return undefined;
}

/** Reads a document and verifies its digest. Throws `CONTENT_MISMATCH`, and what `readDocument` throws. */
async function readBlob(files: ImageFiles, digest: Digest): Promise<Uint8Array<ArrayBuffer>> {
  const path = blobPath(digest);
  const bytes = await readDocument(files, path);
  if (digestOf(bytes) === digest) return bytes;
  throw misnamed(`"${path}" in the ${files.title}`);
}
