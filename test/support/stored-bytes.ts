import type { StoredBytes } from "../../src/oci/image.ts";

/** All bytes of a source's content. */
export async function bytesOf(content: StoredBytes): Promise<Uint8Array<ArrayBuffer>> {
  if (content instanceof Blob) return content.bytes();
  return new Uint8Array(Buffer.concat(await Array.fromAsync(content.read(new AbortController().signal))));
}
