import { open } from "node:fs/promises";
import { type Digest, digestHasher } from "../oci/digest.ts";
import { PRIVATE_FILE } from "../store/own-file.ts";

/** Writes bytes into a new file, and hashes them. Throws the system's errors, and the signal's reason. */
export async function writeHashed(
  bytes: AsyncIterable<Uint8Array>,
  path: string,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (doneBytes: number) => void },
): Promise<{ readonly digest: Digest; readonly writtenBytes: number }> {
  const hasher = digestHasher();
  let writtenBytes = 0;
  const file = await open(path, "wx", PRIVATE_FILE);
  try {
    for await (const piece of bytes) {
      signal.throwIfAborted();
      hasher.update(piece);
      await file.writeFile(piece);
      writtenBytes += piece.length;
      onProgress(writtenBytes);
    }
  } finally {
    await file.close();
  }
  return { digest: hasher.digest(), writtenBytes };
}
