import { setImmediate } from "node:timers/promises";
import { type CompressPool, startCompressPool } from "../layers/compress/pool.ts";
import type { Digest } from "../oci/digest.ts";
import { formatReference, type Reference } from "../oci/reference.ts";
import type { Call } from "../registry/registry.ts";
import { type Slots, slots } from "../registry/slots.ts";
import { LAST_CHUNK_MS } from "../registry/upload/chunk-size.ts";
import type { BlobState, BlobTitle, Report } from "../report/events.ts";
import { retryEvent } from "../report/retry-event.ts";
import type { LayerCache } from "../store/layers.ts";
import type { Locks } from "../store/locks.ts";
import { useCache } from "./open-cache.ts";
import {
  type CompleteOptions,
  completeOptions,
  type Pushed,
  type PushLogin,
  type PushOptions,
} from "./options.ts";

/** The counters of a push to one target. */
type Count = {
  sentBytes: number;
  presentBytes: number;
  /** The number of requests with a body. */
  bodies: number;
  largestBytes: number;
  retries: number;
};

const NOTHING: Count = { sentBytes: 0, presentBytes: 0, bodies: 0, largestBytes: 0, retries: 0 };

/** The settings and resources of one push, until its disposal. */
export type Job = AsyncDisposable & {
  readonly options: CompleteOptions;
  readonly login: PushLogin | undefined;
  readonly cache: LayerCache;
  readonly locks: Locks;
  /** Undefined if raw layers are pushed uncompressed. */
  readonly pool: CompressPool | undefined;
  /** Prepares stored layers one at a time, each on all cores, the largest first. */
  readonly making: Slots;
  /** Limits the blobs that stream in while they are sent: each has a file. */
  readonly streaming: Slots;
  /** Aborted by the caller's `signal` and `stop`, by the first failure, and at the end. */
  readonly signal: AbortSignal;
  /** The same without `stop`, which lets running chunks end. */
  readonly abort: AbortSignal;
  readonly report: Report;
  /** The start in milliseconds of `performance.now()`, without the time of a password prompt. */
  readonly startedMs: number;
  readonly count: Count;
  /** The bytes at the registry, for each blob that was sent or found there. */
  readonly kept: Map<Digest, { readonly keptBytes: number; readonly totalBytes: number }>;
  /** Uploads that have begun. Disposal waits for them. */
  readonly uploads: Set<Promise<unknown>>;
  /**
   * Returns the job for one of its targets, or for a registry as source. Only the first target's registry gets the settings
   * for one registry: headers, client certificate, and those that make a connection less safe. Throws the errors of asking
   * for credentials.
   *
   * @param login the login of another target in the same repository. @default it is asked for
   */
  at(target: Reference, login: PushLogin | undefined): Promise<Job>;
  /** Disposes of a resource at the end of the job. */
  use<T extends AsyncDisposable>(resource: T): T;
  /** Waits for all promises. The first failure aborts the job, and is thrown when all have settled. */
  all<const T extends readonly Promise<unknown>[]>(
    work: T,
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>;
};

/** The settings that replace the first target's for other registries. */
const OF_FIRST_REGISTRY = {
  headers: {},
  clientCertificate: undefined,
  insecure: false,
  skipVerify: false,
  cacheFrom: [],
} as const;

/** Asks for the credentials, and opens the cache. Throws `REFERENCE_INVALID`, `USAGE`, `FILE_FAILED`, and the errors of asking. */
export async function openJob(given: PushOptions, openCache = useCache): Promise<Job> {
  const options = completeOptions(given);
  const { report, compression } = options;
  const failure = new AbortController();
  const { stop } = given;
  const abort = AbortSignal.any([failure.signal, ...(given.signal === undefined ? [] : [given.signal])]);
  const signal = stop === undefined ? abort : AbortSignal.any([abort, stop]);
  // After a stop, failures must not abort the running chunks.
  const fail = (reason: unknown) => stop?.aborted || failure.abort(reason);
  const loginFor = async (target: Reference) => {
    if (typeof given.login === "function") return given.login(target);
    return target.host === options.target.host ? given.login : undefined;
  };
  const login = await loginFor(options.target);
  const { cache, locks, inUse } = await openCache(options, signal);
  const pool = compression.kind === "none" ? undefined : startCompressPool(compression);
  const resources = new AsyncDisposableStack();
  const uploads = new Set<Promise<unknown>>();
  const kept: Job["kept"] = new Map();
  const tellKept = (code: "STOPPING" | "STOPPED") => {
    const all = [...kept.values()];
    const keptBytes = all.reduce((sum, each) => sum + each.keptBytes, 0);
    const totalBytes = all.reduce((sum, each) => sum + each.totalBytes, 0);
    const within = code === "STOPPING" ? { withinMs: LAST_CHUNK_MS } : {};
    if (totalBytes > 0) report({ type: "notice", code, keptBytes, totalBytes, ...within });
  };
  const onStop = () => tellKept("STOPPING");
  stop?.addEventListener("abort", onStop);
  resources.use(inUse);
  if (pool !== undefined) resources.use(pool);
  const job: Job = {
    options,
    login,
    cache,
    locks,
    pool,
    making: slots(1, () => setImmediate()),
    streaming: slots(options.parallel, () => setImmediate()),
    signal,
    abort,
    report,
    startedMs: performance.now(),
    kept,
    count: { ...NOTHING },
    uploads,
    async at(target, known) {
      if (target === options.target) return job;
      const isOther = target.host !== options.target.host;
      return {
        ...job,
        options: { ...options, target, ...(isOther && OF_FIRST_REGISTRY) },
        login: known ?? (await loginFor(target)),
        count: { ...NOTHING },
      };
    },
    use: (resource) => resources.use(resource),
    async all(work) {
      try {
        return await Promise.all(work);
      } catch (error) {
        fail(error);
        await Promise.allSettled(work);
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      // Abort uploads that began early, of blobs that are not in the pushed image.
      fail(new Error("The push has ended."));
      await Promise.allSettled(uploads);
      stop?.removeEventListener("abort", onStop);
      if (stop?.aborted) tellKept("STOPPED");
      await resources.disposeAsync();
    },
  };
  return job;
}

/** Returns the result of a push to one target, and reports it. */
export function reportPushed(job: Job, digest: Digest): Pushed {
  const { sentBytes, presentBytes, ...requests } = job.count;
  const pushed = { reference: formatReference(job.options.target), digest, sentBytes, presentBytes };
  const durationMs = performance.now() - job.startedMs;
  job.report({ type: "pushed", ...pushed, requests, durationMs });
  return pushed;
}

/** Reports the state of a blob. */
export function reportBlob({ report }: Job, { id, title }: BlobTitle, state: BlobState): void {
  report({ type: "blob", id, title, ...state });
}

/** Reports how much of a source was read. The total is unknown until the end if nobody tells it. */
export function reportReading(how: "unpack" | "read" | "save", name: string, { report }: Job) {
  let readBytes = 0;
  const tell = (totalBytes: number | undefined, isDone: boolean) =>
    report({ type: "reading", how, name, doneBytes: readBytes, totalBytes, isDone });
  return {
    moved(doneBytes: number, totalBytes?: number): void {
      readBytes = doneBytes;
      tell(totalBytes, false);
    },
    end: () => tell(readBytes, true),
  };
}

/**
 * Returns the signal and the retry report for a request.
 *
 * @param blob the request's blob
 * @param digest the blob's digest, if the request is part of its upload
 */
export function callOf({ signal, report, count, kept }: Job, blob?: BlobTitle, digest?: Digest): Call {
  return {
    signal,
    onRetry(retry) {
      count.retries++;
      report(retryEvent(retry, blob, digest && kept.get(digest)?.keptBytes));
    },
  };
}
