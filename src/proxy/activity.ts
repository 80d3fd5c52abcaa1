import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { shortDigest } from "../oci/digest.ts";
import type { Sent } from "../registry/upload/send-blob.ts";
import type { BlobTitle, Report } from "../report/events.ts";

/** Reports what clients do, as pushes of images. */
export type Activity = {
  /** Names a blob that a client begins to send. @param digest undefined if the client has not named it yet */
  title(repository: string, digest?: Digest): BlobTitle;
  /** Counts and reports a blob that the registry has. */
  present(repository: string, descriptor: Pick<Descriptor, "digest" | "size">): void;
  mounted(repository: string, digest: Digest, from: string): void;
  sent(repository: string, blob: BlobTitle, sent: Sent): void;
  /**
   * Counts the bytes of a manifest's content, and reports the push of a tag.
   *
   * @param parts the digests that the manifest lists
   * @param reference undefined for a manifest without a tag, which an index may list
   */
  pushed(repository: string, digest: Digest, parts: readonly string[], reference: string | undefined): void;
};

/** The bytes of a blob, or of a manifest with everything below it. */
type Arrival = { readonly sinceMs: number; readonly sentBytes: number; readonly presentBytes: number };

/** The limit on memory: a client may ask for blobs, and never push a manifest that lists them. */
const MAX_ARRIVALS = 10_000;

export function reportActivity(report: Report): Activity {
  /** Arrivals without a pushed tag so far, by repository and digest, the oldest first. */
  const arrivals = new Map<string, Arrival>();
  const startedMs = new WeakMap<BlobTitle, number>();
  let count = 0;

  const blobOf = (repository: string, digest: Digest) =>
    ({ type: "blob", id: String(++count), title: titleOf(repository, digest) }) as const;

  function note(repository: string, digest: Digest, arrival: Arrival): void {
    arrivals.set(keyOf(repository, digest), arrival);
    const [oldest] = arrivals.keys();
    if (arrivals.size > MAX_ARRIVALS && oldest !== undefined) arrivals.delete(oldest);
  }

  return {
    title(repository, digest) {
      const id = String(++count);
      const title = digest === undefined ? `${repository} blob ${id}` : titleOf(repository, digest);
      const blob = { id, title };
      startedMs.set(blob, performance.now());
      return blob;
    },
    present(repository, { digest, size }) {
      // A client may ask for a blob more than once.
      if (arrivals.has(keyOf(repository, digest))) return;
      note(repository, digest, { sinceMs: performance.now(), sentBytes: 0, presentBytes: size });
      report({ ...blobOf(repository, digest), state: "done", how: "present", sizeBytes: size });
    },
    mounted(repository, digest, from) {
      report({ ...blobOf(repository, digest), state: "done", how: "mounted", sizeBytes: undefined, from });
    },
    sent(repository, blob, { descriptor, sentBytes }) {
      const { digest, size } = descriptor;
      const sinceMs = startedMs.get(blob) ?? performance.now();
      note(repository, digest, { sinceMs, sentBytes, presentBytes: 0 });
      const title = titleOf(repository, digest);
      report({ type: "blob", id: blob.id, title, state: "done", how: "sent", sizeBytes: size, sentBytes });
    },
    pushed(repository, digest, parts, reference) {
      const keys = [digest, ...parts].map((part) => keyOf(repository, part));
      const came = keys.flatMap((key) => arrivals.get(key) ?? []);
      for (const key of keys) arrivals.delete(key);
      const sinceMs = Math.min(performance.now(), ...came.map((each) => each.sinceMs));
      const sentBytes = came.reduce((sum, each) => sum + each.sentBytes, 0);
      const presentBytes = came.reduce((sum, each) => sum + each.presentBytes, 0);
      if (reference === undefined) return note(repository, digest, { sinceMs, sentBytes, presentBytes });
      const durationMs = performance.now() - sinceMs;
      report({ type: "pushed", reference, digest, sentBytes, presentBytes, durationMs });
    },
  };
}

function keyOf(repository: string, digest: string): string {
  return `${repository}@${digest}`;
}

function titleOf(repository: string, digest: Digest): string {
  return `${repository} ${shortDigest(digest)}`;
}
