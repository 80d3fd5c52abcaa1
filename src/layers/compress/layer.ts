import { open } from "node:fs/promises";
import { type Digest, digestHasher } from "../../oci/digest.ts";
import { cutBlocks } from "./blocks.ts";
import type { CompressPool } from "./pool.ts";

export type CompressedLayer = {
  /** Of the bytes read: the layer's diffID, where all is well. */
  readonly rawDigest: Digest;
  /** Of the bytes written. */
  readonly digest: Digest;
  readonly sizeBytes: number;
};

/**
 * Compresses a layer into a new file. Memory does not depend on the layer's size. The file is not synced: that would
 * keep everybody waiting for the disk, and what a cache has is checked before it is sent.
 *
 * @param content pieces of any size, which are handed over and must not be used again; the result does not depend on
 * where one ends. Those of the pool's block size are not copied.
 * @param onProgress told how many bytes of the layer are done
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
  const file = await open(path, "wx", 0o644);
  try {
    const members: { rawBytes: number; member: Promise<Uint8Array<ArrayBuffer>> }[] = [];
    const writeOldest = async () => {
      const oldest = members.shift();
      if (oldest === undefined) return;
      const member = await oldest.member;
      compressed.update(member);
      await file.writeFile(member);
      sizeBytes += member.length;
      // Its memory goes back at once, and not when somebody collects garbage.
      member.buffer.transfer(0);
      doneBytes += oldest.rawBytes;
      onProgress(doneBytes);
    };
    for await (const block of cutBlocks(content, pool.blockBytes)) {
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
  } finally {
    await file.close();
  }
  return { rawDigest: raw.digest(), digest: compressed.digest(), sizeBytes };
}
