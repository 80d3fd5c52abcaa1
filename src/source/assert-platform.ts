import { fileError, PushError } from "../errors.ts";
import type { Content, StoredBlob } from "../oci/content.ts";
import { CONFIG_TYPES } from "../oci/descriptor.ts";
import { digestOf } from "../oci/digest.ts";
import { parseImageConfig } from "../oci/image.ts";
import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { ofPlatform } from "../oci/platform.ts";
import type { Missing } from "./files/content.ts";

/**
 * Checks the platform of an image that passes through as an artifact, by its config. Throws `IMAGE_NOT_FOUND` if the image
 * is for none of the wanted platforms, `CONTENT_MISMATCH` and `FILE_FAILED`.
 */
export async function assertPlatform(
  content: Content | Missing,
  wanted: readonly string[],
  title: string,
  signal: AbortSignal,
): Promise<void> {
  if (content.kind !== "artifact" || wanted.length === 0) return;
  const config = content.blobs.find(({ descriptor }) => CONFIG_TYPES.includes(descriptor.mediaType));
  if (config === undefined || config.descriptor.size > MAX_JSON_BYTES) return;
  const name = `the config of the ${title}`;
  const bytes = await readWhole(config, signal).catch((cause: unknown) => {
    throw fileError(cause, `read ${name}`);
  });
  const { platform } = parseImageConfig(bytes, name);
  if (wanted.every((each) => ofPlatform([{ platform }], each).length > 0)) return;
  throw new PushError("IMAGE_NOT_FOUND", `The ${title} is not for ${wanted.join(", ")}.`, {
    hint: `It is for ${platform ?? "an unknown platform"} alone. Leave out --platform, or build the image for the other one.`,
  });
}

/** Reads a small blob. Throws `CONTENT_MISMATCH`. */
async function readWhole({ descriptor, content }: StoredBlob, signal: AbortSignal) {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of content instanceof Blob ? content.stream() : content.read(signal)) {
    pieces.push(piece);
    size += piece.length;
    if (size > descriptor.size) break;
  }
  const bytes = Buffer.concat(pieces);
  if (digestOf(bytes) === descriptor.digest) return bytes;
  throw new PushError(
    "CONTENT_MISMATCH",
    `The source returned other bytes than those of ${descriptor.digest}.`,
    {
      hint: "Save or pull the image again.",
    },
  );
}
