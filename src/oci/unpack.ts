import type { Compression } from "./descriptor.ts";

/** Content that is decompressed as it is read. Disposal ends it. */
export type Unpacking = Disposable & {
  /** The decompressed bytes. Reading throws the decompressor's errors and those of the packed bytes. */
  readonly bytes: AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Resolves when all packed bytes were read. */
  readonly fed: Promise<void>;
  /** Returns how many packed bytes were decompressed. */
  packedBytes(): number;
};

/** Starts to decompress packed bytes in any number of gzip members or zstd frames. */
export async function startUnpacking(
  packed: AsyncIterable<Uint8Array>,
  compression: Exclude<Compression, "none">,
  signal: AbortSignal,
): Promise<Unpacking> {
  // Load these slow modules only when needed: few pushes decompress.
  const { Readable } = await import("node:stream");
  const { pipeline } = await import("node:stream/promises");
  const { createGunzip, createZstdDecompress } = await import("node:zlib");
  const unpacking = compression === "gzip" ? createGunzip() : createZstdDecompress();
  const fed = pipeline(Readable.from(packed, { objectMode: false }), unpacking, { signal });
  // `bytes` throws the same failure, or has ended before it.
  fed.catch(() => undefined);
  return {
    bytes: unpacking,
    fed,
    packedBytes: () => unpacking.bytesWritten,
    [Symbol.dispose]: () => void unpacking.destroy(),
  };
}
