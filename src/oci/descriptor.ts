import type { Digest } from "./digest.ts";

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md */
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

/** How a layer's bytes are packed. */
export type Compression = "none" | "gzip" | "zstd";

/** Docker's own names count as OCI's, which go into the manifest. */
const LAYER_TYPES: Readonly<Record<string, Compression>> = {
  [MEDIA_TYPE.layer.none]: "none",
  [MEDIA_TYPE.layer.gzip]: "gzip",
  [MEDIA_TYPE.layer.zstd]: "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
};

/** The compression that a layer's media type stands for. Undefined: it is no type of a layer that we know. */
export function compressionOfType(mediaType: string | undefined): Compression | undefined {
  return Object.hasOwn(LAYER_TYPES, mediaType ?? "") ? LAYER_TYPES[mediaType ?? ""] : undefined;
}

/** Names a blob by type, digest and size: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
};

/** A blob that is ready for the registry: what it is, and where its bytes can be read, as often as needed. */
export type RegistryBlob = {
  readonly descriptor: Descriptor;
  readonly content: Blob;
};
