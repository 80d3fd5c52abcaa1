import { PushError } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { Manifest } from "../oci/manifest.ts";
import { type Reference, tagOrDigest } from "../oci/reference.ts";
import { putManifest } from "../registry/put-manifest.ts";
import { rememberRepository } from "../store/blob-places.ts";
import type { BroughtBlobs } from "./bring.ts";
import { callOf, type Job, reportPushed } from "./job.ts";
import type { Pushed } from "./options.ts";
import type { Plan, PlannedContent } from "./plan.ts";
import { type Publication, putContent } from "./put-content.ts";
import type { Brought } from "./target.ts";

/**
 * Publishes the content under the target's tag, once every blob is at the registry: what an index lists first, by digest,
 * then signatures and the like, and the tag last. Throws what the first failing blob throws; then nothing is tagged.
 */
export async function publish(plan: Plan, blobs: BroughtBlobs, job: Job): Promise<Pushed> {
  const { target: reference } = job.options;
  const { at } = plan.target;
  const all = await job.all([...blobs.all.values()]);
  const brought = new Map([...blobs.all.keys()].map((blob, i) => [blob, all[i] as Brought]));
  const publication = { plan, blobs, brought, published: new Set<string>(), refused: new Set<string>(), job };
  const manifest = await putRoot(publication, reference);
  const source = sourceDigestOf(plan.root);
  const isTold = source === undefined || publication.refused.has(source);
  if (source !== manifest.digest && !isTold)
    job.report({ type: "notice", code: "DIGEST_CHANGED", from: source, to: manifest.digest });
  await rememberRepository(
    at.registry.notes,
    at.registry.origin,
    at.name,
    [...brought.values()].map(({ descriptor }) => descriptor.digest),
  );
  return reportPushed(job, manifest.digest);
}

async function putRoot(publication: Publication, target: Reference): Promise<Manifest> {
  const { plan, published, job } = publication;
  const check = ({ digest }: Manifest) => assertPinned(target, digest);
  const place = tagOrDigest(target);
  if (plan.attached.length === 0) return putContent(plan.root, place, publication, check);
  // serverless-registry wants to have a subject first.
  const root = await putContent(plan.root, undefined, publication, check);
  let count = 0;
  for (const { subject, tag, planned } of plan.attached) {
    if (planned !== undefined && published.has(subject)) await putContent(planned, tag, publication);
    else count += 1;
  }
  if (count > 0) job.report({ type: "notice", code: "REFERRERS_LEFT_OUT", count });
  await putManifest(plan.target.at, place, root, callOf(job));
  return root;
}

/** Returns the digest that the content has in its source. Undefined if it has no manifest there. */
export function sourceDigestOf(root: PlannedContent): Digest | undefined {
  switch (root.kind) {
    case "image":
      return root.image?.manifest?.digest;
    case "artifact":
      return root.artifact.manifest.digest;
    case "index":
      return root.index.manifest.digest;
  }
}

/** Refuses to publish anything but what the target names by its digest. Throws `CONTENT_MISMATCH`. */
export function assertPinned({ digest: wanted }: Reference, digest: Digest): void {
  if (wanted === undefined || wanted === digest) return;
  throw new PushError("CONTENT_MISMATCH", `The target names ${wanted}, but the image is ${digest}.`, {
    hint: "Push the image that has this digest, or leave the digest out. Compressing layers changes the digest of an image.",
  });
}
