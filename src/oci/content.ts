import { CONFIG_TYPES, type Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import type { Image, Layer, StoredBytes } from "./image.ts";
import type { IndexEntry } from "./image-index.ts";
import type { Manifest } from "./manifest.ts";

/** A tree of manifests to push. Only the root gets the tag. */
export type Content = Image | Artifact | Index;

/** A manifest that is pushed unchanged with its blobs: an attestation, a signature, a chart, a model. */
export type Artifact = {
  readonly kind: "artifact";
  readonly manifest: Manifest;
  /** The distinct blobs, without foreign layers, which are not uploaded. */
  readonly blobs: readonly StoredBlob[];
};

/** A blob that is pushed unchanged. */
export type StoredBlob = { readonly descriptor: Descriptor; readonly content: StoredBytes };

/** An index or Docker manifest list, with the content that is present of what it lists. */
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

/** Content of a tree, and its entry in the index above it. */
type Node = { readonly content: Content; readonly entry: IndexEntry | undefined };

/** Lists the content of a tree that is present, an index before what it lists. */
function nodesOf(content: Content, isIncluded = (_: IndexEntry) => true, entry?: IndexEntry): Node[] {
  const children = content.kind === "index" ? content.children : [];
  const below = children.flatMap((child) =>
    child.content === undefined || !isIncluded(child.entry)
      ? []
      : nodesOf(child.content, isIncluded, child.entry),
  );
  return [{ content, entry }, ...below];
}

const isNoAttestation = ({ isAttestation }: IndexEntry) => !isAttestation;

/** Lists the images of a tree. */
export function imagesOf(root: Content): Image[] {
  return nodesOf(root).flatMap(({ content }) => (content.kind === "image" ? content : []));
}

/** Lists the platforms of a tree's images. */
export function platformsOf(root: Content): (string | undefined)[] {
  return nodesOf(root, isNoAttestation).flatMap(({ content, entry }) => {
    if (content.kind === "image") return [content.platform];
    // An image that only passes through is an artifact.
    return content.kind === "artifact" && entry ? [entry.platform] : [];
  });
}

/** Tells whether everything that the indexes of a tree list is present. */
export function isWhole(root: Content): boolean {
  return nodesOf(root).every(
    ({ content }) => content.kind !== "index" || content.children.every((child) => child.content),
  );
}

/** Lists the digests of all manifests of a tree, as they are in the source. */
export function manifestDigestsOf(root: Content): Digest[] {
  return nodesOf(root).flatMap(({ content }) => content.manifest?.digest ?? []);
}

/** Lists the blobs of a tree's artifacts, each once. */
export function artifactBlobsOf(root: Content): StoredBlob[] {
  const blobs = nodesOf(root).flatMap(({ content }) => (content.kind === "artifact" ? content.blobs : []));
  return [...new Map(blobs.map((blob) => [blob.descriptor.digest, blob])).values()];
}

/** Counts the layers of a tree, and their bytes in the source as far as they are known. */
export function sizeOf(root: Content): { readonly layers: number; readonly bytes: number } {
  const all = nodesOf(root, isNoAttestation).flatMap(({ content }) => sizesOf(content));
  // An image alone counts its repeated layers, as its layer list does.
  const sizes = root.kind === "image" ? all.map(([, size]) => size) : [...new Map(all).values()];
  return { layers: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** Lists the sizes of layers by what identifies them. An image that only passes through is an artifact. */
function sizesOf(content: Content): (readonly [string, number])[] {
  if (content.kind === "index") return [];
  if (content.kind === "image")
    return content.layers.map((layer) => [identityOf(layer), layer.content.size ?? 0]);
  const layers = content.blobs.filter(({ descriptor }) => !CONFIG_TYPES.includes(descriptor.mediaType));
  return layers.map(({ descriptor }) => [descriptor.digest, descriptor.size]);
}

/** Raw layers with the same diffID are the same blob. A layer can also be stored in several compressed forms. */
export function identityOf({ diffId, compression, claimedDigest, name }: Layer): string {
  return compression === "none" ? diffId : `${diffId} ${claimedDigest ?? name}`;
}
