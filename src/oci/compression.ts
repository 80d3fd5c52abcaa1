/** How to compress a raw layer. Form and level are part of the compressed layer's digest. */
export type CompressionForm = {
  readonly kind: "gzip" | "zstd";
  /** The level in libdeflate's or zstd's own scale. */
  readonly level: number;
};

/** The compression of a push. `none` uploads raw layers unchanged. */
export type LayerCompression = CompressionForm | { readonly kind: "none" };

/** The levels to choose from; docs/compression.md has measurements. zstd's levels 20 to 22 need too much memory. */
export const COMPRESSION_LEVELS = {
  gzip: { min: 1, max: 12, default: 1 },
  zstd: { min: 1, max: 19, default: 2 },
} as const;

/** Every registry and engine accepts gzip. */
export const DEFAULT_COMPRESSION: CompressionForm = { kind: "gzip", level: COMPRESSION_LEVELS.gzip.default };
