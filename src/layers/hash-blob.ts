import { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { messageOf, PushError } from "../errors.ts";
import { type Digest, digestHasher } from "../oci/digest.ts";
import type { Compression } from "../oci/image.ts";

/** Large enough that reading, not asking to read, takes the time. */
const READ_BYTES = 1024 * 1024;

/** The digest of content as it lies there. */
export async function hashBlob(
  content: Blob,
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void = () => {},
): Promise<Digest> {
  const hasher = digestHasher();
  for (let offset = 0; offset < content.size; offset += READ_BYTES) {
    signal.throwIfAborted();
    const end = Math.min(offset + READ_BYTES, content.size);
    hasher.update(new Uint8Array(await content.slice(offset, end).arrayBuffer()));
    onProgress(end);
  }
  return hasher.digest();
}

/** The digest of what compressed content unpacks to. Throws `CONTENT_MISMATCH` where it does not unpack. */
export async function hashUnpacked(
  content: Blob,
  compression: Exclude<Compression, "none">,
  name: string,
  signal: AbortSignal,
): Promise<Digest> {
  const hasher = digestHasher();
  const unpack = compression === "gzip" ? createGunzip() : createZstdDecompress();
  try {
    for await (const bytes of Readable.fromWeb(content.stream() as never, { signal }).pipe(unpack))
      hasher.update(bytes as Buffer);
  } catch (cause) {
    signal.throwIfAborted();
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the layer "${name}" is damaged: ${messageOf(cause)}`,
      {
        hint: "Save the image again.",
        cause,
      },
    );
  }
  return hasher.digest();
}
