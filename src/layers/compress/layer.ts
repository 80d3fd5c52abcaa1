import { open } from "node:fs/promises";
import { type Digest, digestHasher } from "../../oci/digest.ts";
import { PRIVATE_FILE } from "../../store/own-file.ts";
import { cutBlocks } from "./blocks.ts";
import type { CompressPool } from "./pool.ts";

export type CompressedLayer = {
  /** Digest of the raw bytes. It equals the diffID of an undamaged layer. */
  readonly rawDigest: Digest;
  /** Digest of the compressed bytes. */
  readonly digest: Digest;
  readonly sizeBytes: number;
};

/**
 * Compresses a layer into a new file, in constant memory. Does not sync the file, since the upload would wait for the
 * disk; instead, cached bytes are verified before they are sent. Throws the system's errors.
 *
 * @param content pieces of any size, which does not affect the result. The caller must not use them again. Pieces of the
 * pool's block size are not copied
 * @param onProgress receives how many raw bytes are compressed
 */
export async function compressLayer(
  content: AsyncIterable<Uint8Array>,
  path: string,
  pool: CompressPool,
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void,
): Promise<CompressedLayer> {
  const raw = digestHasher();
  const compressed = digestHasher();
  let sizeBytes = 0;
  let doneBytes = 0;
  const file = await open(path, "wx", PRIVATE_FILE);
  try {
    const members: { rawBytes: number; member: Promise<Uint8Array<ArrayBuffer>> }[] = [];
    const writeOldest = async () => {
      const oldest = members.shift();
      if (oldest === undefined) return;
      const member = await oldest.member;
      compressed.update(member);
      await file.writeFile(member);
      sizeBytes += member.length;
      // Free its memory now, without waiting for garbage collection.
      member.buffer.transfer(0);
      doneBytes += oldest.rawBytes;
      onProgress(doneBytes);
    };
    for await (const block of cutBlocks(content, pool.blockBytes)) {
      signal.throwIfAborted();
      raw.update(block);
      const rawBytes = block.length;
      const member = pool.compress(block);
      // If an earlier block fails, nothing awaits this one. Its failure must not count as unhandled.
      member.catch(() => undefined);
      members.push({ rawBytes, member });
      if (members.length >= pool.depth) await writeOldest();
    }
    while (members.length > 0) await writeOldest();
  } finally {
    await file.close();
  }
  return { rawDigest: raw.digest(), digest: compressed.digest(), sizeBytes };
}
