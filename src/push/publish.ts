import { PushError } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { type Manifest, manifestFor } from "../oci/manifest.ts";
import { formatReference, type Reference, tagOrDigest } from "../oci/reference.ts";
import { missingBlobs, putManifest } from "../registry/put-manifest.ts";
import { rememberRepository } from "../store/blob-places.ts";
import type { BroughtBlobs } from "./bring.ts";
import { callOf, type Job } from "./job.ts";
import type { Plan, PlannedBlob } from "./plan.ts";
import type { Brought } from "./target.ts";

/** The result of a push. */
export type Pushed = {
  /** `registry.example.com/my/app:v1` */
  readonly reference: string;
  /** The digest of the manifest. */
  readonly digest: Digest;
  readonly sentBytes: number;
  /** Bytes that the registry already had. */
  readonly presentBytes: number;
};

/**
 * Publishes the image under the target's tag, once every blob is at the registry. A registry may wrongly report a
 * blob as present: serverless-registry does so for blobs that only a fallback registry has. If it then refuses the manifest,
 * these blobs are sent, and the manifest is published again. Throws what the first failing blob throws; then nothing is tagged.
 */
export async function publish(plan: Plan, blobs: BroughtBlobs, job: Job): Promise<Pushed> {
  const { target: reference } = job.options;
  const brought = new Map<PlannedBlob, Brought>();
  const [config, ...layers] = await job.all([blobs.config, ...blobs.layers.values()]);
  brought.set(plan.config, config as Brought);
  for (const [i, layer] of [...blobs.layers.keys()].entries()) brought.set(layer, layers[i] as Brought);

  const { at } = plan.target;
  const manifest = await putUntilComplete(plan, blobs, brought, job);
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

/**
 * Publishes the manifest, and sends blobs again that the registry lacks, each once. A registry may name one at a time.
 *
 * @param brought changes with every blob that is sent again
 */
async function putUntilComplete(
  plan: Plan,
  blobs: BroughtBlobs,
  brought: Map<PlannedBlob, Brought>,
  job: Job,
): Promise<Manifest> {
  const sentAgain = new Set<PlannedBlob>();
  for (;;) {
    const manifest = manifestOf(plan, brought);
    try {
      assertPinned(job.options.target, manifest.digest);
      await putManifest(plan.target.at, tagOrDigest(job.options.target), manifest, callOf(job));
      return manifest;
    } catch (error) {
      const digests = [...brought.values()].map(({ descriptor }) => descriptor.digest);
      const named = missingBlobs(error, digests);
      if (named === undefined) throw error;
      const isMissing = ({ descriptor, how }: Brought) =>
        named.length > 0 ? named.includes(descriptor.digest) : how !== "sent";
      const wanted = [...brought.keys()].filter(
        (blob) => !sentAgain.has(blob) && isMissing(brought.get(blob) as Brought),
      );
      if (wanted.length === 0) throw error;
      for (const blob of wanted) {
        const { how, descriptor } = brought.get(blob) as Brought;
        // What was not sent was counted as present.
        if (how !== "sent") job.count.presentBytes -= descriptor.size;
      }
      const sent = await job.all(wanted.map((blob) => blobs.sendAgain(blob)));
      for (const [i, blob] of wanted.entries()) {
        brought.set(blob, sent[i] as Brought);
        sentAgain.add(blob);
      }
    }
  }
}

/** Refuses to publish anything but what the target names by its digest. Throws `CONTENT_MISMATCH`. */
function assertPinned({ digest: wanted }: Reference, digest: Digest): void {
  if (wanted === undefined || wanted === digest) return;
  throw new PushError("CONTENT_MISMATCH", `The target names ${wanted}, but the image is ${digest}.`, {
    hint: "Push the image that has this digest, or leave the digest out. An image whose layers chunkpush compresses gets a new one.",
  });
}

/** Returns the source's manifest if every blob is unchanged, else a new one. */
function manifestOf({ source, config, order }: Plan, brought: ReadonlyMap<PlannedBlob, Brought>): Manifest {
  const original = source.access === "any" ? source.image.manifest : undefined;
  const descriptorOf = (blob: PlannedBlob): Descriptor => (brought.get(blob) as Brought).descriptor;
  return manifestFor(original, descriptorOf(config), order.map(descriptorOf));
}
