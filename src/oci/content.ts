import { CONFIG_TYPES, type Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import type { Image, Layer, StoredBytes } from "./image.ts";
import type { IndexEntry } from "./image-index.ts";
import type { Manifest } from "./manifest.ts";

/** A tree of manifests to push. Only the root gets the tag. */
export type Content = Image | Artifact | Index;

/** A manifest that goes up byte for byte, with its blobs as they are: an attestation, a signature, a chart, a model. */
export type Artifact = {
  readonly kind: "artifact";
  readonly manifest: Manifest;
  /** The distinct blobs, without foreign layers, which are not uploaded. */
  readonly blobs: readonly StoredBlob[];
};

/** A blob that goes up as it is. */
export type StoredBlob = { readonly descriptor: Descriptor; readonly content: StoredBytes };

/** An index or Docker manifest list, and as much as is there of what it lists. */
export type Index = {
  readonly kind: "index";
  readonly manifest: Manifest;
  /** In the index's order. */
  readonly children: readonly IndexChild[];
};

/** An entry of an index, with its content. */
export type IndexChild = {
  readonly entry: IndexEntry;
  /** Undefined if the source does not have it, or not all of it. */
  readonly content: Content | undefined;
};

/** Lists the images of a tree. */
export function imagesOf(content: Content): Image[] {
  if (content.kind === "image") return [content];
  if (content.kind === "artifact") return [];
  return content.children.flatMap((child) => (child.content === undefined ? [] : imagesOf(child.content)));
}

/** Lists the platforms of a tree's images. */
export function platformsOf(content: Content): (string | undefined)[] {
  if (content.kind === "image") return [content.platform];
  if (content.kind === "artifact") return [];
  return content.children.flatMap(({ entry, content: child }) => {
    if (child === undefined || entry.isAttestation) return [];
    // An image that only passes through is an artifact.
    return child.kind === "artifact" ? [entry.platform] : platformsOf(child);
  });
}

/** Tells whether all that the indexes of a tree list is there. */
export function isWhole(content: Content): boolean {
  return (
    content.kind !== "index" || content.children.every((child) => child.content && isWhole(child.content))
  );
}

/** Lists the digests of all manifests of a tree, as they are in the source. */
export function manifestDigestsOf(content: Content): Digest[] {
  const own = content.manifest?.digest;
  const below =
    content.kind === "index"
      ? content.children.flatMap((child) =>
          child.content === undefined ? [] : manifestDigestsOf(child.content),
        )
      : [];
  return [...(own === undefined ? [] : [own]), ...below];
}

/** Counts the layers of a tree, each once, and their bytes in the source as far as they are known. */
export function sizeOf(content: Content): { readonly layers: number; readonly bytes: number } {
  const all = sizesOf(content);
  const sizes = content.kind === "image" ? all.map(([, size]) => size) : [...new Map(all).values()];
  return { layers: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** Lists the sizes of layers by what identifies them. An image that only passes through is an artifact. */
function sizesOf(content: Content): (readonly [string, number])[] {
  if (content.kind === "image")
    return content.layers.map((layer) => [identityOf(layer), layer.content.size ?? 0]);
  if (content.kind === "index") {
    const images = content.children.filter(({ entry }) => !entry.isAttestation);
    return images.flatMap((child) => (child.content === undefined ? [] : sizesOf(child.content)));
  }
  const layers = content.blobs.filter(({ descriptor }) => !CONFIG_TYPES.includes(descriptor.mediaType));
  return layers.map(({ descriptor }) => [descriptor.digest, descriptor.size]);
}

/** Raw layers with the same diffID are the same blob. A layer can also be stored in several compressed forms. */
export function identityOf({ diffId, compression, claimedDigest, name }: Layer): string {
  return compression === "none" ? diffId : `${diffId} ${claimedDigest ?? name}`;
}
