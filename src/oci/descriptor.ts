import type { Digest } from "./digest.ts";

/** OCI media types: https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md */
export const MEDIA_TYPE = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: {
    none: "application/vnd.oci.image.layer.v1.tar",
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  },
} as const;

/** The media types of indexes, OCI's and Docker's. */
export const INDEX_TYPES: readonly string[] = [
  MEDIA_TYPE.index,
  "application/vnd.docker.distribution.manifest.list.v2+json",
];

/** The media types of image manifests. */
export const MANIFEST_TYPES: readonly string[] = [
  MEDIA_TYPE.manifest,
  "application/vnd.docker.distribution.manifest.v2+json",
];

/** Matches the types of foreign layers, which are not uploaded: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md */
export const FOREIGN_TYPE = /\b(?:foreign|nondistributable)\b/;

/** The media types of image configs. */
export const CONFIG_TYPES: readonly string[] = [
  MEDIA_TYPE.config,
  "application/vnd.docker.container.image.v1+json",
];

/** The compression of a layer's bytes. */
export type Compression = "none" | "gzip" | "zstd";

/** Docker's layer types are accepted as well; the manifest always gets OCI's. */
const LAYER_TYPES: Readonly<Record<string, Compression>> = {
  [MEDIA_TYPE.layer.none]: "none",
  [MEDIA_TYPE.layer.gzip]: "gzip",
  [MEDIA_TYPE.layer.zstd]: "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
};

/** Returns the compression that a layer's media type stands for, or undefined for an unknown type. */
export function compressionOfType(mediaType: string | undefined): Compression | undefined {
  return Object.hasOwn(LAYER_TYPES, mediaType ?? "") ? LAYER_TYPES[mediaType ?? ""] : undefined;
}

/** Identifies a blob: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
};

/** A blob that is ready to upload. Its content can be read any number of times. */
export type RegistryBlob = { readonly descriptor: Descriptor; readonly content: Blob };
