import type { RegistryBlob } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import type { Image, Layer } from "./image.ts";
import type { IndexEntry } from "./image-index.ts";
import type { Manifest } from "./manifest.ts";

/** What is pushed: a tree of manifests, of which only the root gets the tag. */
export type Content = Image | Artifact | Index;

/** A manifest that goes up byte for byte, with its blobs as they are: an attestation, a signature, a chart, a model. */
export type Artifact = {
  readonly kind: "artifact";
  readonly manifest: Manifest;
  /** The distinct blobs, without those that registries are not given. */
  readonly blobs: readonly RegistryBlob[];
};

/** An index or Docker manifest list, and as much as is there of what it lists. */
export type Index = {
  readonly kind: "index";
  readonly manifest: Manifest;
  /** In the index's order. */
  readonly children: readonly IndexChild[];
};

/** What an index lists. */
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
  if (content.kind === "artifact") {
    const bytes = content.blobs.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
    return { layers: content.blobs.length, bytes };
  }
  const all = imagesOf(content).flatMap(({ layers }) => layers);
  const distinct = [...new Map(all.map((layer) => [identityOf(layer), layer])).values()];
  const layers = content.kind === "image" ? all : distinct;
  return { layers: layers.length, bytes: layers.reduce((sum, layer) => sum + (layer.content.size ?? 0), 0) };
}

/** Raw layers with the same diffID are the same blob. A layer can also be stored in several compressed forms. */
export function identityOf({ diffId, compression, claimedDigest, name }: Layer): string {
  return compression === "none" ? diffId : `${diffId} ${claimedDigest ?? name}`;
}
