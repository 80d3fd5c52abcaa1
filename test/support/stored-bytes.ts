import type { StoredBlob } from "../../src/oci/content.ts";
import type { RegistryBlob } from "../../src/oci/descriptor.ts";
import type { StoredBytes } from "../../src/oci/image.ts";

/** All bytes of a source's content. */
export async function bytesOf(content: StoredBytes): Promise<Uint8Array<ArrayBuffer>> {
  if (content instanceof Blob) return content.bytes();
  return new Uint8Array(Buffer.concat(await Array.fromAsync(content.read(new AbortController().signal))));
}

/** A blob that can be read in parts, as those in files can. */
export function inParts({ descriptor, content }: StoredBlob): RegistryBlob {
  if (content instanceof Blob) return { descriptor, content };
  throw new Error("The blob can only be read from its start.");
}
