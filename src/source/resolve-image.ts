import * as v from "valibot";
import { MEDIA_TYPE } from "../oci/descriptor.ts";
import type { DiffId, Digest } from "../oci/digest.ts";
import { assertLayerCount, type ImageConfig, parseImageConfig } from "../oci/image.ts";
import { type LeftOut, leftOut, parseIndex } from "../oci/image-index.ts";
import { object, parseJson } from "../oci/json-schema.ts";
import { type ManifestEntry, parseManifest } from "../oci/manifest.ts";

/** An image, known from its documents alone: every one of them has the digest by which another names it. */
export type ResolvedImage = {
  readonly config: ImageConfig;
  /** Base first. Undefined where the engine's ID is the config's digest: layers are raw then, and named by diffIDs. */
  readonly layers: readonly ManifestEntry[] | undefined;
  /** The other images and attestations in the image's index, if there is an index. */
  readonly leftOut: LeftOut | undefined;
  readonly documents: ReadonlyMap<Digest, Uint8Array<ArrayBuffer>>;
};

type Found = Omit<ResolvedImage, "documents">;

/** An image as an engine describes it. It tells which image of an index is meant. */
export type InspectedImage = {
  /** The digest of its config, of its manifest, or of an index that lists the manifest: engines differ. */
  readonly id: Digest;
  readonly diffIds: readonly DiffId[];
  /** Such as `linux/amd64`. Undefined where the engine does not say. */
  readonly platform: string | undefined;
};

/** The bytes that a digest names, checked, or undefined where they are not to be had. */
type FindDocument = (digest: Digest) => Promise<Uint8Array<ArrayBuffer> | undefined>;

/** Docker writes an index that lists manifests; real ones are no deeper than two. */
const MAX_DEPTH = 4;

const CONFIG_TYPES: readonly (string | undefined)[] = [
  undefined,
  MEDIA_TYPE.config,
  "application/vnd.docker.container.image.v1+json",
];

const KIND = object({ manifests: v.optional(v.unknown()), layers: v.optional(v.unknown()) });

/**
 * Follows an engine's ID of an image to its config and layers. Undefined where a document is missing, or where none of
 * the images in an index is the one that was inspected. Throws `IMAGE_INVALID` and `DIGEST_INVALID`.
 */
export async function resolveImage(
  image: InspectedImage,
  find: FindDocument,
): Promise<ResolvedImage | undefined> {
  const documents = new Map<Digest, Uint8Array<ArrayBuffer>>();
  const read = async (digest: Digest) => {
    const bytes = await find(digest);
    if (bytes !== undefined) documents.set(digest, bytes);
    return bytes;
  };

  /** @returns `missing` where a document is not there, undefined where it is another image */
  async function follow(digest: Digest, depth: number): Promise<Found | "missing" | undefined> {
    // Indexes may list each other many times.
    if (documents.has(digest)) return undefined;
    const bytes = await read(digest);
    if (bytes === undefined) return "missing";
    if (depth > MAX_DEPTH) return undefined;
    const kind = parseJson(bytes, KIND, digest);
    if (kind.manifests !== undefined) return followIndex(bytes, digest, depth);
    if (kind.layers !== undefined) return followManifest(bytes, digest);
    const config = parseImageConfig(bytes, digest);
    return isInspected(config) ? { config, layers: undefined, leftOut: undefined } : undefined;
  }

  async function followIndex(bytes: Uint8Array, digest: Digest, depth: number) {
    const entries = parseIndex(bytes, digest);
    for (const entry of entries) {
      if (entry.isAttestation || !mayBe(entry.platform)) continue;
      const found = await follow(entry.digest, depth + 1);
      // The first that fits is the one: nobody knows which while an earlier one cannot be read.
      if (found === "missing") return found;
      if (found !== undefined)
        return { ...found, leftOut: leftOut(entries.filter(({ digest }) => digest !== entry.digest)) };
    }
    return undefined;
  }

  async function followManifest(bytes: Uint8Array, digest: Digest): Promise<Found | "missing" | undefined> {
    const manifest = parseManifest(bytes, digest);
    // Other artifacts, such as Helm charts, have configs of other types.
    if (!CONFIG_TYPES.includes(manifest.config.mediaType)) return undefined;
    if (documents.has(manifest.config.digest)) return undefined;
    const configBytes = await read(manifest.config.digest);
    if (configBytes === undefined) return "missing";
    const config = parseImageConfig(configBytes, manifest.config.digest);
    if (!isInspected(config)) return undefined;
    assertLayerCount(config.diffIds, manifest.layers, digest);
    return { config, layers: manifest.layers, leftOut: undefined };
  }

  const isInspected = ({ diffIds, platform }: ImageConfig) =>
    diffIds.join() === image.diffIds.join() && mayBe(platform);
  // One of the two may lack the variant.
  const mayBe = (platform: string | undefined) =>
    platform === undefined ||
    image.platform === undefined ||
    `${platform}/`.startsWith(`${image.platform}/`) ||
    `${image.platform}/`.startsWith(`${platform}/`);

  const found = await follow(image.id, 0);
  return found === undefined || found === "missing" ? undefined : { ...found, documents };
}
