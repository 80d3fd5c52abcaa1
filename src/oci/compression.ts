/** How layers are compressed that come uncompressed. */
export type CompressionForm = {
  readonly kind: "gzip" | "zstd";
  /** As libdeflate and zstd count. It is part of what gives a layer its digest. */
  readonly level: number;
};

/** `none`: uncompressed layers go up as they come. */
export type LayerCompression = CompressionForm | { readonly kind: "none" };

/**
 * The levels that there are, and the ones that are taken unless somebody asks for another: docs/compression.md has the
 * measurements. zstd would have 20 to 22, which take more memory than a push may.
 */
export const COMPRESSION_LEVELS = {
  gzip: { min: 1, max: 12, default: 1 },
  zstd: { min: 1, max: 19, default: 2 },
} as const;

/** What every registry and engine takes. */
export const DEFAULT_COMPRESSION: CompressionForm = { kind: "gzip", level: COMPRESSION_LEVELS.gzip.default };
