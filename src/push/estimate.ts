import type { CompressionForm } from "../oci/compression.ts";
import type { StoredBytes } from "../oci/image.ts";

/** So many pieces of a layer are compressed: a few milliseconds' work. */
const SAMPLES = 16;
const SAMPLE_BYTES = 128 * 1024;

/**
 * Estimates the size of a compressed layer from samples of it, which are spread evenly where it can be read in any order.
 * Undefined if its size is unknown.
 */
export async function estimateCompressed(
  content: StoredBytes,
  form: CompressionForm,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { size } = content;
  if (size === undefined) return undefined;
  let rawBytes = 0;
  let compressedBytes = 0;
  for await (const sample of samplesOf(content, signal)) {
    rawBytes += sample.length;
    compressedBytes += compress(sample, form).length;
    if (rawBytes >= SAMPLES * SAMPLE_BYTES) break;
  }
  return rawBytes === 0 ? 0 : Math.round((size * compressedBytes) / rawBytes);
}

async function* samplesOf(content: StoredBytes, signal: AbortSignal): AsyncIterable<Uint8Array<ArrayBuffer>> {
  if (!(content instanceof Blob)) return yield* content.read(signal);
  const step = Math.max(SAMPLE_BYTES, Math.floor(content.size / SAMPLES));
  for (let start = 0; start < content.size; start += step) {
    signal.throwIfAborted();
    yield new Uint8Array(await content.slice(start, start + SAMPLE_BYTES).arrayBuffer());
  }
}

function compress(bytes: Uint8Array<ArrayBuffer>, { kind, level }: CompressionForm): Uint8Array {
  if (kind === "zstd") return Bun.zstdCompressSync(bytes, { level });
  return Bun.gzipSync(bytes, { library: "libdeflate", level: level as 1 });
}
