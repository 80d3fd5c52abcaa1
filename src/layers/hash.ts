import { PushError } from "../errors.ts";
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
  return hashStream(readPieces(content, READ_BYTES, signal), onProgress, hasher);
}

/** Computes the digest of a stream. Throws the stream's errors. */
export async function hashStream(
  bytes: AsyncIterable<Uint8Array>,
  onProgress: (doneBytes: number) => void = () => {},
  hasher = digestHasher(),
): Promise<Digest> {
  let doneBytes = 0;
  for await (const piece of bytes) {
    hasher.update(piece);
    doneBytes += piece.length;
    onProgress(doneBytes);
  }
  return hasher.digest();
}

/** Creates the error for a layer whose bytes do not match its digest or diffID. `name` is its name in the source. */
export function damagedLayer(name: string, expected: DiffId | Digest, found: Digest): PushError {
  return new PushError(
    "CONTENT_MISMATCH",
    `Cannot push: the layer "${name}" is damaged: its digest should be ${shortDigest(expected)}, but is ${shortDigest(found)}.`,
    { hint: "Save the image again." },
  );
}
