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
 * Publishes the content under the target's tag, once every blob is at the registry: the children of an index first, by
 * digest, then the index, signatures and other referrers, and the tag last. Throws the error of the first failing blob; then
 * nothing is tagged.
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
  // serverless-registry requires a subject before its referrers.
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

/** Returns the digest of the content's manifest in the source. Undefined if it has none there. */
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

/** Throws `CONTENT_MISMATCH` if the target names another digest. */
export function assertPinned({ digest: wanted }: Reference, digest: Digest): void {
  if (wanted === undefined || wanted === digest) return;
  throw new PushError("CONTENT_MISMATCH", `The target names ${wanted}, but the image is ${digest}.`, {
    hint: "Push the image that has this digest, or leave the digest out. Compressing layers changes the digest of an image.",
  });
}
