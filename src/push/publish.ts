import { RegistryError } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import { keepEntries } from "../oci/image-index.ts";
import { type Manifest, manifestFor } from "../oci/manifest.ts";
import { formatReference } from "../oci/reference.ts";
import { missingBlobs, putManifest } from "../registry/put-manifest.ts";
import { rememberRepository } from "../store/blob-places.ts";
import type { BroughtBlobs } from "./bring.ts";
import { callOf, type Job } from "./job.ts";
import type { Plan, PlannedBlob, PlannedContent } from "./plan.ts";
import type { Brought } from "./target.ts";

/** The result of a push. */
export type Pushed = {
  /** `registry.example.com/my/app:v1` */
  readonly reference: string;
  /** The digest of the manifest or index. */
  readonly digest: Digest;
  readonly sentBytes: number;
  /** Bytes that the registry already had. */
  readonly presentBytes: number;
};

type Publication = {
  readonly plan: Plan;
  readonly blobs: BroughtBlobs;
  /** Changes with every blob that is sent again. */
  readonly brought: Map<PlannedBlob, Brought>;
  readonly job: Job;
};

/**
 * Publishes the content under the target's tag, once every blob is at the registry: what an index lists first, by digest,
 * and the tag last. A registry may wrongly report a blob as present: serverless-registry does so for blobs that only a
 * fallback registry has. If it then refuses the manifest, these blobs are sent, and the manifest is published again.
 * Throws what the first failing blob throws; then nothing is tagged.
 */
export async function publish(plan: Plan, blobs: BroughtBlobs, job: Job): Promise<Pushed> {
  const { target: reference } = job.options;
  const { at } = plan.target;
  const all = await job.all([...blobs.all.values()]);
  const brought = new Map([...blobs.all.keys()].map((blob, i) => [blob, all[i] as Brought]));
  const publication = { plan, blobs, brought, job };
  const manifest = await putContent(plan.root, reference.tag, publication);
  await rememberRepository(
    at.registry.notes,
    at.registry.origin,
    at.name,
    [...brought.values()].map(({ descriptor }) => descriptor.digest),
  );
  const pushed = { reference: formatReference(reference), digest: manifest.digest, ...job.count };
  job.report({ type: "pushed", ...pushed, durationMs: performance.now() - job.startedMs });
  return pushed;
}

/** @param reference a tag. Undefined: the manifest is published under its digest */
async function putContent(
  planned: PlannedContent,
  reference: string | undefined,
  publication: Publication,
): Promise<Manifest> {
  switch (planned.kind) {
    case "image":
      return putImage(planned, reference, publication);
    case "artifact": {
      const { manifest } = planned.artifact;
      return putUntilComplete(() => manifest, planned.blobs, reference, publication);
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
      const index = isUnchanged ? manifest : keepEntries(manifest, published);
      return putUntilComplete(() => index, [], reference, publication);
    }
  }
}

/** Publishes the source's manifest if every blob is unchanged, else a new one. */
async function putImage(
  { image, config, order }: Extract<PlannedContent, { kind: "image" }>,
  reference: string | undefined,
  publication: Publication,
): Promise<Manifest> {
  const { brought, job } = publication;
  const descriptorOf = (blob: PlannedBlob) => (brought.get(blob) as Brought).descriptor;
  const make = (isRefused: boolean) => () =>
    manifestFor(image?.manifest, descriptorOf(config), order.map(descriptorOf), { isRefused });
  try {
    return await putUntilComplete(make(false), [config, ...order], reference, publication);
  } catch (error) {
    const { digest } = make(false)();
    if (digest !== image?.manifest?.digest || !isRefusedForm(error)) throw error;
    job.report({ type: "notice", code: "MANIFEST_REFUSED", digest, error });
    return putUntilComplete(make(true), [config, ...order], reference, publication);
  }
}

/** zot takes no Docker manifests, and serverless-registry no manifest that does not say its type. */
function isRefusedForm(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status, specCodes } = error.answer;
  return (
    status === 415 || (status === 400 && (specCodes.length === 0 || specCodes.includes("MANIFEST_INVALID")))
  );
}

/** Publishes a manifest, and sends blobs again that the registry lacks, each once. A registry may name one at a time. */
async function putUntilComplete(
  make: () => Manifest,
  blobs: readonly PlannedBlob[],
  reference: string | undefined,
  { plan, blobs: { sendAgain }, brought, job }: Publication,
): Promise<Manifest> {
  const sentAgain = new Set<PlannedBlob>();
  for (;;) {
    const manifest = make();
    try {
      await putManifest(plan.target.at, reference ?? manifest.digest, manifest, callOf(job));
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
        // What was not sent was counted as present.
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
