import { fileError, PushError } from "../../errors.ts";
import { type DiffId, digestInPath, hexOf } from "../../oci/digest.ts";
import {
  assertLayerCount,
  detectCompression,
  type Image,
  type ImageConfig,
  type Layer,
  parseImageConfig,
} from "../../oci/image.ts";
import { type ImageFiles, misnamed, readDocument } from "./image-files.ts";

/** Reads an image's config. Throws `CONTENT_MISMATCH` if its file name is another digest: engines name it by its own. */
export async function readConfig(files: ImageFiles, path: string): Promise<ImageConfig> {
  const name = `"${path}" in the ${files.title}`;
  const config = parseImageConfig(await readDocument(files, path), name);
  const [, hex] = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path) ?? [];
  if (hex !== undefined && hex !== hexOf(config.blob.descriptor.digest)) throw misnamed(`the config ${name}`);
  return config;
}

/**
 * Opens the layers of a config. Throws `IMAGE_INVALID` for another number of paths, `IMAGE_INCOMPLETE` and `FILE_FAILED`.
 *
 * @param title the document that lists the paths, for messages
 */
export async function openImage(
  files: ImageFiles,
  { blob, diffIds, platform }: ImageConfig,
  layerPaths: readonly string[],
  title: string,
): Promise<Omit<Image, "manifest">> {
  assertLayerCount(diffIds, layerPaths, title);
  const layers = diffIds.map((diffId, i) => openLayer(files, layerPaths[i] ?? "", diffId));
  return { kind: "image", config: blob, layers: await Promise.all(layers), platform };
}

async function openLayer(files: ImageFiles, path: string, diffId: DiffId): Promise<Layer> {
  const content = await (files.openLayer ?? files.open)(path);
  if (content === undefined) {
    throw new PushError(
      "IMAGE_INCOMPLETE",
      `Cannot read the ${files.title}: the layer "${path}" is missing.`,
      {
        hint: "Save the image again. If the engine leaves the layer out again, pull the image first.",
      },
    );
  }
  const layer = { diffId, claimedDigest: digestInPath(path), name: path };
  if (!(content instanceof Blob)) return { ...layer, compression: "none", content };
  const compression = await detectCompression(content).catch((cause: unknown) => {
    throw fileError(cause, `read "${path}" in the ${files.title}`);
  });
  return { ...layer, compression, content };
}
