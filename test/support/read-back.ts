import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import * as v from "valibot";
import { runWell } from "./command.ts";
import { sha256 } from "./sha256.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const DESCRIPTOR = v.object({ mediaType: v.string(), digest: v.string(), size: v.number() });
export const MANIFEST = v.object({
  schemaVersion: v.literal(2),
  // Docker's type comes from engines that push an image as they have it.
  mediaType: v.picklist([
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
  ]),
  config: DESCRIPTOR,
  layers: v.array(DESCRIPTOR),
});

/** An image as a registry gives it out. */
export type PulledImage = {
  readonly manifestDigest: string;
  readonly config: Uint8Array;
  /** What each layer decompresses to, in the order of the manifest. */
  readonly diffIds: readonly string[];
  /** Of the layers, as the manifest has them. */
  readonly mediaTypes: readonly string[];
};

/** Reads an image with skopeo, every blob as the registry has it. */
export async function readBack(reference: string, ...flags: readonly string[]): Promise<PulledImage> {
  await using folder = await temporaryFolder();
  const to = join(folder.path, "image");
  const source = flags.length > 0 ? flags : ["--src-tls-verify=false"];
  await runWell(["skopeo", "copy", "--insecure-policy", ...source, `docker://${reference}`, `dir:${to}`]);
  const manifest = await readFile(join(to, "manifest.json"));
  return await pulledImage(manifest, (digest) => readFile(join(to, digest.slice("sha256:".length))));
}

/** Puts together what was read, and checks every byte against the digest and size that name it. */
export async function pulledImage(
  manifestBytes: Uint8Array,
  readBlob: (digest: string) => Promise<Uint8Array>,
): Promise<PulledImage> {
  const { config, layers } = v.parse(MANIFEST, JSON.parse(new TextDecoder().decode(manifestBytes)));
  const read = async ({ digest, size }: v.InferOutput<typeof DESCRIPTOR>) => {
    const bytes = await readBlob(digest);
    if (sha256(bytes) !== digest || bytes.length !== size)
      throw new Error(`The registry gave ${bytes.length} bytes for ${digest}, which are not it.`);
    return bytes;
  };
  const diffIds = [];
  for (const layer of layers) diffIds.push(sha256(unpack(await read(layer), layer.mediaType)));
  const mediaTypes = layers.map(({ mediaType }) => mediaType);
  return { manifestDigest: sha256(manifestBytes), config: await read(config), diffIds, mediaTypes };
}

function unpack(layer: Uint8Array, mediaType: string): Uint8Array {
  if (mediaType.endsWith(".tar")) return layer;
  return mediaType.endsWith("+zstd") ? zstdDecompressSync(layer) : gunzipSync(layer);
}
