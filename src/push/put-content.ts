import { PushError, RegistryError } from "../errors.ts";
import { MEDIA_TYPE } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { keepEntries } from "../oci/image-index.ts";
import { type Manifest, manifestFor, referencesOf } from "../oci/manifest.ts";
import { missingBlobs, putManifest } from "../registry/put-manifest.ts";
import { addReferrer } from "../registry/referrers.ts";
import type { BroughtBlobs } from "./bring.ts";
import { callOf, type Job } from "./job.ts";
import type { Plan, PlannedBlob, PlannedContent } from "./plan.ts";
import type { Brought } from "./target.ts";

/** The state of publishing a plan. */
export type Publication = {
  readonly plan: Plan;
  readonly blobs: BroughtBlobs;
  /** Changes with every blob that is sent again. */
  readonly brought: Map<PlannedBlob, Brought>;
  /** The digests of the manifests at the registry. */
  readonly published: Set<string>;
  /** The digests of the source's manifests that the registry refused. */
  readonly refused: Set<string>;
  readonly job: Job;
};

type Place = { readonly reference: string | undefined; readonly check: (manifest: Manifest) => void };

/**
 * Publishes a tree of manifests, the children of an index first. A registry may wrongly report a blob as present:
 * serverless-registry does so for blobs that only a fallback registry has. If it then refuses the manifest, sends these
 * blobs, and publishes the manifest again.
 *
 * @param reference a tag or digest. @default the manifest's digest
 * @param check throws for a root that must not be published
 */
export async function putContent(
  planned: PlannedContent,
  reference: string | undefined,
  publication: Publication,
  check: (root: Manifest) => void = () => {},
): Promise<Manifest> {
  const place = { reference, check };
  switch (planned.kind) {
    case "image":
      return putImage(planned, place, publication);
    case "artifact": {
      const { manifest } = planned.artifact;
      return putUntilComplete(() => manifest, planned.blobs, place, publication);
    }
    case "index": {
      const { manifest, children } = planned.index;
      const published = new Map<Digest, Manifest>();
      const listed = children.filter(({ content }) => content !== undefined);
      for (const [i, { entry }] of listed.entries())
        published.set(
          entry.digest,
          await putContent(planned.children[i] as PlannedContent, undefined, publication),
        );
      const isUnchanged =
        listed.length === children.length &&
        [...published].every(([digest, child]) => child.digest === digest);
      const make = (isRefused: boolean) => {
        if (isRefused) return keepEntries({ ...manifest, mediaType: MEDIA_TYPE.index }, published);
        return isUnchanged ? manifest : keepEntries(manifest, published);
      };
      return putInForm(make, [], place, publication);
    }
  }
}

/** Publishes the source's manifest if every blob is unchanged, else a new one. */
async function putImage(
  { image, config, order }: Extract<PlannedContent, { kind: "image" }>,
  place: Place,
  publication: Publication,
): Promise<Manifest> {
  const { brought } = publication;
  const descriptorOf = (blob: PlannedBlob) => (brought.get(blob) as Brought).descriptor;
  const make = (isRefused: boolean) =>
    manifestFor(image?.manifest, descriptorOf(config), order.map(descriptorOf), { isRefused });
  return putInForm(make, [config, ...order], place, publication);
}

/** Publishes the source's manifest, or an OCI manifest with the same content if the registry refuses that. */
async function putInForm(
  make: (isRefused: boolean) => Manifest,
  blobs: readonly PlannedBlob[],
  place: Place,
  publication: Publication,
): Promise<Manifest> {
  const { job } = publication;
  try {
    return await putUntilComplete(() => make(false), blobs, place, publication);
  } catch (error) {
    const { digest } = make(false);
    const isPinned = job.options.target.digest !== undefined;
    const reason = refusalOf(error);
    if (isPinned || digest === make(true).digest || reason === undefined) throw error;
    publication.refused.add(digest);
    job.report({ type: "notice", code: "MANIFEST_REFUSED", digest, reason });
    return putUntilComplete(() => make(true), blobs, place, publication);
  }
}

/**
 * Returns the reason if a registry refused a manifest for its form: zot refuses Docker manifests, and serverless-registry
 * manifests without a type. Undefined for other failures.
 */
function refusalOf(error: unknown): string | undefined {
  // An explained refusal has the registry's answer as its cause.
  const refusal = error instanceof PushError && !(error instanceof RegistryError) ? error.cause : error;
  if (!(refusal instanceof RegistryError)) return undefined;
  const { status, specCodes } = refusal.answer;
  const isForm = specCodes.length === 0 || specCodes.includes("MANIFEST_INVALID");
  return status === 415 || (status === 400 && isForm) ? [status, ...specCodes].join(" ") : undefined;
}

/** Publishes a manifest. Sends blobs again that the registry lacks, each once: a registry may name one per refusal. */
async function putUntilComplete(
  make: () => Manifest,
  blobs: readonly PlannedBlob[],
  { reference, check }: Place,
  { plan, blobs: { sendAgain }, brought, published, job }: Publication,
): Promise<Manifest> {
  const { at } = plan.target;
  const sentAgain = new Set<PlannedBlob>();
  for (;;) {
    const manifest = make();
    check(manifest);
    const { subject } = referencesOf(manifest.bytes, "the manifest");
    try {
      const listed = await putManifest(at, reference ?? manifest.digest, manifest, callOf(job));
      if (subject !== undefined && listed.subject === undefined)
        await addReferrer(at, subject, manifest, job.locks, callOf(job));
      published.add(manifest.digest);
      return manifest;
    } catch (error) {
      const ofManifest = new Map([...new Set(blobs)].map((blob) => [blob, brought.get(blob) as Brought]));
      const digests = [...ofManifest.values()].map(({ descriptor }) => descriptor.digest);
      const named = missingBlobs(error, digests);
      if (named === undefined) throw error;
      const isMissing = ({ descriptor, how }: Brought) =>
        named.length > 0 ? named.includes(descriptor.digest) : how !== "sent";
      const wanted = [...ofManifest].filter(([blob, each]) => !sentAgain.has(blob) && isMissing(each));
      if (wanted.length === 0) throw error;
      for (const [, { how, descriptor }] of wanted) {
        // A blob that was not sent was counted as present.
        if (how !== "sent") job.count.presentBytes -= descriptor.size;
      }
      const sent = await job.all(wanted.map(([blob]) => sendAgain(blob)));
      for (const [i, [blob]] of wanted.entries()) {
        brought.set(blob, sent[i] as Brought);
        sentAgain.add(blob);
      }
    }
  }
}
