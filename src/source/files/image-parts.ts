import { fileError, PushError } from "../../errors.ts";
import { type DiffId, type Digest, hexOf, parseDigest } from "../../oci/digest.ts";
import { detectCompression, type ImageConfig, type Layer, parseImageConfig } from "../../oci/image.ts";
import type { ImageFiles } from "./image-files.ts";
import { readDocument } from "./read-document.ts";

/** Returns a blob's path in an OCI layout. Docker 25 and later use it in their archives as well. */
export function blobPath(digest: Digest | DiffId): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** Reads an image's config. If its file name is a digest, as all engines write it, verifies it (`CONTENT_MISMATCH`). */
export async function readConfig(files: ImageFiles, path: string): Promise<ImageConfig> {
  const name = `"${path}" in the ${files.title}`;
  const config = parseImageConfig(await readDocument(files, path), name);
  const [, hex] = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path) ?? [];
  if (hex !== undefined && hex !== hexOf(config.blob.descriptor.digest)) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the config ${name} does not have the digest of its name.`,
      {
        hint: "The image was damaged: save it again.",
      },
    );
  }
  return config;
}

/** Opens one layer. Throws `IMAGE_INVALID` if it is missing, and `FILE_FAILED`. */
export async function openLayer(files: ImageFiles, path: string, diffId: DiffId): Promise<Layer> {
  const content = await files.open(path);
  if (content === undefined) {
    throw new PushError("IMAGE_INVALID", `Cannot read the ${files.title}: it lacks the layer "${path}".`, {
      hint: "Save the image again: an engine may leave layers out whose content it does not have.",
    });
  }
  const [, hex] = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path) ?? [];
  return {
    diffId,
    compression: await detectCompression(content).catch((cause: unknown) => {
      throw fileError(cause, `read "${path}" in the ${files.title}`);
    }),
    claimedDigest: hex === undefined ? undefined : parseDigest(`sha256:${hex}`, path),
    content,
    name: path,
  };
}
