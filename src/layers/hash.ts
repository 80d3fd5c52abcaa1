import { fileError, messageOf, PushError } from "../errors.ts";
import type { Compression } from "../oci/descriptor.ts";
import { type DiffId, type Digest, digestHasher, shortDigest } from "../oci/digest.ts";
import { readPieces } from "../oci/read-pieces.ts";

/** Large enough that the overhead of a read call does not matter. */
const READ_BYTES = 1024 * 1024;

/**
 * Computes the digest of stored content. Throws the system's errors unchanged.
 *
 * @param hasher a hash that is continued with the content
 */
export async function hashBlob(
  content: Blob,
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void = () => {},
  hasher = digestHasher(),
): Promise<Digest> {
  let doneBytes = 0;
  for await (const bytes of readPieces(content, READ_BYTES, signal)) {
    hasher.update(bytes);
    doneBytes += bytes.length;
    onProgress(doneBytes);
  }
  return hasher.digest();
}

/**
 * Computes the digest of decompressed content. Throws `CONTENT_MISMATCH` if it is damaged, cut short, or goes on after
 * its end, which Go's readers refuse, and `FILE_FAILED`.
 */
export async function hashUnpacked(
  content: Blob,
  compression: Exclude<Compression, "none">,
  name: string,
  signal: AbortSignal,
): Promise<Digest> {
  const hasher = digestHasher();
  // Load these slow modules only when needed: few layers are unpacked.
  const { Readable } = await import("node:stream");
  const { pipeline } = await import("node:stream/promises");
  const { createGunzip, createZstdDecompress } = await import("node:zlib");
  const unpacking = compression === "gzip" ? createGunzip() : createZstdDecompress();
  try {
    await pipeline(
      Readable.from(withZero(readPieces(content, READ_BYTES, signal), content.size), { objectMode: false }),
      unpacking,
      async (unpacked: AsyncIterable<Uint8Array>) => {
        for await (const bytes of unpacked) hasher.update(bytes);
      },
    );
    if (unpacking.bytesWritten !== content.size)
      throw new Error("it is cut short, or something follows its end");
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof Error && "syscall" in cause) throw fileError(cause, `read the layer "${name}"`);
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the layer "${name}" is damaged: ${messageOf(cause)}`,
      { hint: "Save the image again.", cause },
    );
  }
  return hasher.digest();
}

/**
 * Adds a zero, which is taken for a part of content that is cut short, and left over otherwise. Bun's own readers leave
 * zeros over, and take a zstd frame that is cut short.
 */
async function* withZero(pieces: AsyncIterable<Uint8Array>, sizeBytes: number) {
  let bytesLeft = sizeBytes;
  for await (const piece of pieces) {
    bytesLeft -= piece.length;
    yield bytesLeft > 0 ? piece : Buffer.concat([piece, Buffer.alloc(1)]);
  }
}

/** Creates the error for a layer whose bytes do not match its digest or diffID. `name` is its name in the source. */
export function damagedLayer(name: string, expected: DiffId | Digest, found: Digest): PushError {
  return new PushError(
    "CONTENT_MISMATCH",
    `Cannot push: the layer "${name}" is damaged: it should be ${shortDigest(expected)}, but is ${shortDigest(found)}.`,
    { hint: "Save the image again." },
  );
}
