import { type FileHandle, open } from "node:fs/promises";
import { type Digest, digestHasher } from "../oci/digest.ts";
import type { GzipPool } from "./gzip-pool.ts";

/**
 * A layer is cut into blocks of this size, each of which becomes one gzip member; RFC 1952, 2.2, makes their
 * concatenation a gzip file. The size is part of what gives a layer its digest: another one, and every layer that
 * registries already have is uploaded again.
 */
export const GZIP_BLOCK_BYTES = 1024 * 1024;

/** As libdeflate counts. It, too, is part of what gives a layer its digest. */
export const GZIP_LEVEL = 5;

export type CompressedLayer = {
  /** Of the bytes read: the layer's diffID, where all is well. */
  readonly rawDigest: Digest;
  /** Of the bytes written. */
  readonly digest: Digest;
  readonly sizeBytes: number;
};

/**
 * Compresses a layer into a new file, which is on the disk when this returns. Memory does not depend on the
 * layer's size.
 *
 * @param onProgress told how many bytes of the layer are done
 */
export async function compressLayer(
  content: AsyncIterable<Uint8Array<ArrayBuffer>>,
  path: string,
  pool: GzipPool,
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void,
): Promise<CompressedLayer> {
  const raw = digestHasher();
  const compressed = digestHasher();
  let sizeBytes = 0;
  let doneBytes = 0;
  const file = await open(path, "wx", 0o644);
  try {
    const members: { rawBytes: number; member: Promise<Uint8Array> }[] = [];
    const writeOldest = async () => {
      const oldest = members.shift();
      if (oldest === undefined) return;
      const member = await oldest.member;
      compressed.update(member);
      await writeFully(file, member);
      sizeBytes += member.length;
      doneBytes += oldest.rawBytes;
      onProgress(doneBytes);
    };
    for await (const block of cutBlocks(content)) {
      signal.throwIfAborted();
      raw.update(block);
      const rawBytes = block.length;
      const member = pool.compress(block);
      // It is awaited in its turn. Until then, an earlier failure may end this, and nobody is left to see its own.
      member.catch(() => undefined);
      members.push({ rawBytes, member });
      if (members.length >= pool.depth) await writeOldest();
    }
    while (members.length > 0) await writeOldest();
    await file.sync();
  } finally {
    await file.close();
  }
  return { rawDigest: raw.digest(), digest: compressed.digest(), sizeBytes };
}

/** The blocks of a layer; one empty block where it has no bytes, so that the result is a gzip file all the same. */
async function* cutBlocks(
  pieces: AsyncIterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let block = new Uint8Array(GZIP_BLOCK_BYTES);
  let filled = 0;
  let isEmpty = true;
  for await (const piece of pieces) {
    isEmpty &&= piece.length === 0;
    // What is a block already is handed on as it is.
    if (filled === 0 && piece.length === GZIP_BLOCK_BYTES && piece.buffer.byteLength === piece.length) {
      yield piece;
      continue;
    }
    for (let done = 0; done < piece.length; ) {
      const part = piece.subarray(done, done + GZIP_BLOCK_BYTES - filled);
      block.set(part, filled);
      done += part.length;
      filled += part.length;
      if (filled < GZIP_BLOCK_BYTES) continue;
      yield block;
      block = new Uint8Array(GZIP_BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0 || isEmpty) yield block.slice(0, filled);
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
}
