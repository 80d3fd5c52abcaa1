import { fileError, messageOf, PushError } from "../errors.ts";
import type { Compression } from "../oci/descriptor.ts";
import type { StreamedBytes } from "../oci/image.ts";
import { readPieces } from "../oci/read-pieces.ts";
import { startUnpacking } from "../oci/unpack.ts";

/** Large enough that the overhead of a read call does not matter. */
const READ_BYTES = 1024 * 1024;

/** Returns the raw bytes of a compressed layer. Each read throws as `unpackLayer` does. */
export function rawBytesOf(
  content: Blob,
  compression: Exclude<Compression, "none">,
  size: number | undefined,
  name: string,
): StreamedBytes {
  return { size, read: (signal) => unpackLayer(content, compression, name, signal) };
}

/**
 * Decompresses a layer as it is read. Throws `FILE_FAILED`, and `CONTENT_MISMATCH` if the layer is damaged, cut short, or
 * followed by other data, which Go's readers refuse.
 */
export async function* unpackLayer(
  content: Blob,
  compression: Exclude<Compression, "none">,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const packed = withZero(readPieces(content, READ_BYTES, signal), content.size);
  using unpacking = await startUnpacking(packed, compression, signal);
  try {
    yield* unpacking.bytes;
    await unpacking.fed;
    if (unpacking.packedBytes() !== content.size) throw new Error("it is cut short, or data follows its end");
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof Error && "syscall" in cause) throw fileError(cause, `read the layer "${name}"`);
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the layer "${name}" is damaged: ${messageOf(cause)}`,
      { hint: "Save the image again.", cause },
    );
  }
}

/**
 * Appends a zero, which tells whether content is complete: a decompressor reads it as a part of truncated content, and leaves
 * it unread after complete content. By itself, Bun's decompressor accepts a truncated zstd frame.
 */
async function* withZero(pieces: AsyncIterable<Uint8Array>, sizeBytes: number) {
  let bytesLeft = sizeBytes;
  for await (const piece of pieces) {
    bytesLeft -= piece.length;
    yield bytesLeft > 0 ? piece : Buffer.concat([piece, Buffer.alloc(1)]);
  }
}
