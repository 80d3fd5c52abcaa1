import { PushError } from "../errors.ts";
import type { Content } from "../oci/content.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { readContent } from "./read-content.ts";
import { readManifest } from "./read-manifest.ts";
import { type Call, type Repository, withRetries } from "./registry.ts";

/** Few: without an answer, the image is pushed. */
const MAX_RETRIES = 2;

/**
 * Reads what the image under a tag consists of: the configs and layers of its manifest or, for an index, of all its
 * manifests. Undefined if it is another image, or the registry does not tell all of it.
 *
 * @param digest that of the expected manifest or index
 */
export async function readTagged(
  at: Repository,
  tag: string,
  digest: Digest,
  call: Call,
): Promise<Descriptor[] | undefined> {
  const place = withRetries(at, MAX_RETRIES);
  const blobs = new Map<Digest, Descriptor>();
  try {
    const manifest = await readManifest(place, tag, call);
    const isWhole = manifest?.digest === digest && addBlobs(await readContent(place, manifest, call), blobs);
    return isWhole ? [...blobs.values()] : undefined;
  } catch (error) {
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    return undefined;
  }
}

/** Adds the blobs of a tree. @returns false if a part of it is missing */
function addBlobs(content: Content | undefined, blobs: Map<Digest, Descriptor>): boolean {
  if (content?.kind === "index") return content.children.every((child) => addBlobs(child.content, blobs));
  if (content?.kind !== "artifact") return false;
  for (const { descriptor } of content.blobs) blobs.set(descriptor.digest, descriptor);
  return true;
}
