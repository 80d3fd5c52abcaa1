import { PushError } from "../errors.ts";
import { artifactBlobsOf, isWhole } from "../oci/content.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { readContent } from "./read-content.ts";
import { readManifest } from "./read-manifest.ts";
import { type Call, type Repository, withFewRetries } from "./registry.ts";

/**
 * Lists the configs and layers of the image under a tag or, for an index, of all its images. Undefined for another image, or
 * if the registry lacks a part.
 *
 * @param digest the digest of the expected manifest or index
 */
export async function readTagged(
  at: Repository,
  tag: string,
  digest: Digest,
  call: Call,
): Promise<Descriptor[] | undefined> {
  // Without an answer, the image is pushed.
  const place = withFewRetries(at);
  try {
    const manifest = await readManifest(place, tag, call);
    if (manifest?.digest !== digest) return undefined;
    const content = await readContent(place, manifest, call);
    return isWhole(content) ? artifactBlobsOf(content).map(({ descriptor }) => descriptor) : undefined;
  } catch (error) {
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    return undefined;
  }
}
