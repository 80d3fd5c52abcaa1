import { PushError } from "../errors.ts";
import { shellWord } from "../format.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { detectCompression } from "../oci/image.ts";
import { formatReference } from "../oci/reference.ts";
import { pullScope, pushScope } from "../registry/auth/scope.ts";
import { exchange } from "../registry/http/send.ts";
import { blobUrl } from "../registry/registry.ts";
import { findUpload } from "../registry/upload/begin.ts";
import { adaptChunks, planChunks } from "../registry/upload/plan-chunks.ts";
import { recallRepository } from "../store/blob-places.ts";
import { estimateCompressed } from "./estimate.ts";
import { callOf, type Job, openJob } from "./job.ts";
import { viewCache } from "./open-cache.ts";
import { openJobSource } from "./open-source.ts";
import type { PushOptions } from "./options.ts";
import { type Plan, type PlannedBlob, type PlannedContent, type PlannedLayer, startPlan } from "./plan.ts";
import { assertPinned, sourceDigestOf } from "./publish.ts";
import { guardSource } from "./stale-source.ts";
import { connectTargets, type Target } from "./target.ts";

/** The action that a push would take for a blob. */
export type ForecastBlob = {
  /** As in the reports of a push: `layer 2/5 sha256:0123456789ab`. */
  readonly title: string;
  readonly kind: "layer" | "config" | "blob";
  readonly action: "present" | "mount" | "send" | "compress" | "verify" | "save";
  /** The repository to mount from. */
  readonly from?: string;
  /** The size of an uncompressed layer. Undefined for other blobs. */
  readonly rawBytes: number | undefined;
  /** The size that is uploaded. Undefined if unknown. */
  readonly pushedBytes: number | undefined;
  readonly isEstimate: boolean;
  /** Bytes that an interrupted upload has at the registry. */
  readonly resumedBytes: number;
  /** Requests with a body. None: an interrupted upload has all bytes, and is to be closed. */
  readonly chunks: number;
  /** All requests that change something. */
  readonly requests: number;
};

/** The actions of a push to one target. */
export type Forecast = {
  readonly reference: string;
  readonly origin: string;
  readonly blobs: readonly ForecastBlob[];
  readonly manifests: number;
  /** All requests that change something. */
  readonly requests: number;
  /** The rate at which an earlier push sent, in bytes per second. Undefined if unknown; then the chunks are the most. */
  readonly bytesPerSecond: number | undefined;
};

/**
 * Finds out what a push would do, for each target. Writes nothing: no cache, no notes, no locks; the registry gets GET and
 * HEAD only. Throws what a push would throw up to there, and `USAGE` for a source that has to be read whole.
 */
export async function forecast(options: PushOptions): Promise<Forecast[]> {
  await using job = await openJob(options, viewCache);
  const guard = guardSource(job);
  const [targets, source] = await job.all([connectTargets(job), openJobSource(job)]);
  if (source.access === "stream") {
    const { kind, name } = source.origin;
    const compression =
      kind === "archive" && (await detectCompression(Bun.file(name)).catch(() => undefined));
    const unpack = compression === "zstd" ? "unzstd" : "gunzip";
    throw new PushError("USAGE", `Cannot plan "${name}": it would have to be unpacked to the disk.`, {
      hint: `A plan writes nothing. ${kind === "archive" ? `Unpack it first: ${unpack} < ${shellWord(name)} > unpacked.tar` : "Write the archive to a file, and plan that."}`,
    });
  }
  await guard.before(source);
  const all: Forecast[] = [];
  const seen = new Set<Target>();
  for (const { target, job: own } of targets) {
    // Another tag of the same repository needs only its manifests.
    const isSeen = seen.has(target);
    seen.add(target);
    const plan = startPlan(source, target, own);
    const { digest } = own.options.target;
    const root = sourceDigestOf(plan.root);
    const layers = await Promise.all(plan.layers.map((layer) => forecastBlob(layer, "layer", plan, own)));
    const configs = new Set(configsOf(plan.root));
    const others = await Promise.all(
      plan.others.map((blob) => forecastBlob(blob, configs.has(blob) ? "config" : "blob", plan, own)),
    );
    const isChanged = layers.some(({ rawBytes }) => rawBytes !== undefined) && own.pool !== undefined;
    if (digest !== undefined && root !== undefined && !isChanged) assertPinned(own.options.target, root);
    const blobs = [...others, ...layers].map(
      (blob): ForecastBlob => (isSeen ? { ...blob, action: "present", ...NOTHING } : blob),
    );
    const manifests =
      manifestsIn(plan.root) +
      plan.attached.reduce((sum, { planned }) => sum + (planned ? manifestsIn(planned) : 0), 0);
    all.push({
      reference: formatReference(own.options.target),
      origin: target.at.registry.origin,
      blobs,
      manifests,
      requests: blobs.reduce((sum, blob) => sum + blob.requests, manifests),
      bytesPerSecond: target.at.registry.link.bytesPerSecond(),
    });
  }
  await guard.after();
  return all;
}

function configsOf(content: PlannedContent): PlannedBlob[] {
  if (content.kind === "index") return content.children.flatMap(configsOf);
  return content.kind === "image" ? [content.config] : [];
}

function manifestsIn(content: PlannedContent): number {
  if (content.kind !== "index") return 1;
  return content.children.reduce((sum, child) => sum + manifestsIn(child), 1);
}

/** The counts of a blob that is not sent. */
const NOTHING = { resumedBytes: 0, chunks: 0, requests: 0 } as const;

async function forecastBlob(
  blob: PlannedBlob | PlannedLayer,
  kind: ForecastBlob["kind"],
  plan: Plan,
  job: Job,
): Promise<ForecastBlob> {
  const step = await blob.settled;
  const layer = "layer" in blob ? blob.layer : undefined;
  const isRaw = layer?.compression === "none";
  const about = {
    title: blob.title,
    kind,
    rawBytes: isRaw ? layer.content.size : undefined,
    isEstimate: false,
    ...NOTHING,
  };
  switch (step.step) {
    case "present":
      return { ...about, action: "present", pushedBytes: step.descriptor.size };
    case "mount":
      return { ...about, action: "mount", from: step.from, requests: 1, pushedBytes: step.descriptor.size };
    case "send": {
      const { descriptor } = step.ready.blob;
      // serverless-registry tells a wrong size of mounted blobs. The push verifies its own, and sends nothing.
      if (step.answer?.found !== undefined)
        return { ...about, action: "present", pushedBytes: descriptor.size };
      return { ...about, ...(await forecastSend(descriptor, plan.target, job)) };
    }
    case "make": {
      if (layer === undefined)
        return { ...about, action: "save", pushedBytes: undefined, chunks: 1, requests: 2 };
      const pushedBytes =
        isRaw && job.pool !== undefined
          ? await estimateCompressed(layer.content, job.pool.form, job.signal)
          : layer.content.size;
      const action = isRaw && job.pool !== undefined ? "compress" : "verify";
      return {
        ...about,
        action,
        pushedBytes,
        isEstimate: action === "compress",
        ...sendingOf(pushedBytes ?? 0, plan.target, job),
      };
    }
  }
}

/** In the order of a push: an upload that has begun comes before a mount. */
async function forecastSend(descriptor: Descriptor, target: Target, job: Job) {
  const { size: pushedBytes } = descriptor;
  const { at } = target;
  const { chunkBytes } = job.options;
  const upload = await findUpload(at, descriptor, { ...callOf(job), chunkBytes });
  if (upload !== undefined && upload !== "stale") {
    adaptChunks(at.registry, upload, pushedBytes, chunkBytes);
    const { offset: resumedBytes } = upload.session;
    const chunks = Math.ceil((pushedBytes - resumedBytes) / upload.chunkBytes);
    return { action: "send", pushedBytes, resumedBytes, chunks, requests: chunks + 1 } as const;
  }
  const from = await placeOf(descriptor.digest, target, job);
  if (from !== undefined) return { action: "mount", from, pushedBytes, requests: 1 } as const;
  return { action: "send", pushedBytes, ...sendingOf(pushedBytes, target, job) } as const;
}

/** A blob in one request takes POST and PUT; one in chunks a PATCH for each, too. */
function sendingOf(bytes: number, { at: { registry } }: Target, { options }: Job) {
  const limits = { minBytes: undefined, maxBytes: undefined };
  const chunkBytes = planChunks(registry, bytes, options.chunkBytes, limits);
  const chunks = Math.max(1, Math.ceil(bytes / chunkBytes));
  return { chunks, requests: chunks > 1 || registry.learned.emptyPuts ? chunks + 2 : 2 };
}

/** Finds another repository of the registry that has a blob, as a push does. */
async function placeOf(digest: Digest, { at, mountFrom }: Target, job: Job): Promise<string | undefined> {
  const { registry, name } = at;
  const noted = await recallRepository(registry.notes, registry.origin, digest);
  for (const from of new Set([...(noted === undefined ? [] : [noted]), ...mountFrom])) {
    if (from === name) continue;
    const url = blobUrl({ registry, name: from }, digest);
    const request = { method: "HEAD", url, scopes: [pushScope(name), pullScope(from)] } as const;
    const answer = await exchange(at, request, [200, 404], callOf(job)).catch((error: unknown) => {
      job.signal.throwIfAborted();
      // No right to read there: the blob is sent.
      if (error instanceof PushError) return undefined;
      throw error;
    });
    if (answer?.status === 200) return from;
  }
  return undefined;
}
