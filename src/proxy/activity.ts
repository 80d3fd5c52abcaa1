import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { shortDigest } from "../oci/digest.ts";
import type { Sent } from "../registry/upload/send-blob.ts";
import type { BlobTitle, Report } from "../report/events.ts";

/** Reports what clients do, as pushes of one image after the other in each repository. */
export type Activity = {
  /** Names a blob. @param digest undefined: the client has not said it yet */
  title(repository: string, digest?: Digest): BlobTitle;
  /** Counts and reports a blob that the registry has. */
  present(repository: string, descriptor: Pick<Descriptor, "digest" | "size">): void;
  mounted(repository: string, digest: Digest, from: string): void;
  sent(repository: string, blob: BlobTitle, sent: Sent): void;
  /** Ends the push of a tag. */
  pushed(repository: string, reference: string, digest: Digest): void;
};

type RunningPush = {
  readonly startedMs: number;
  sentBytes: number;
  /** Blobs that were there, in bytes. A client may ask for each more than once. */
  readonly present: Map<Digest, number>;
};

/** More blobs than a push has are not counted. */
const MAX_COUNTED = 10_000;

export function reportActivity(report: Report): Activity {
  const pushes = new Map<string, RunningPush>();
  let count = 0;

  function pushOf(repository: string): RunningPush {
    const push = pushes.get(repository) ?? {
      startedMs: performance.now(),
      sentBytes: 0,
      present: new Map(),
    };
    pushes.set(repository, push);
    return push;
  }

  const blobOf = (repository: string, digest: Digest) =>
    ({ type: "blob", id: String(++count), title: titleOf(repository, digest) }) as const;

  return {
    title(repository, digest) {
      pushOf(repository);
      const id = String(++count);
      return { id, title: digest === undefined ? `${repository} blob ${id}` : titleOf(repository, digest) };
    },
    present(repository, { digest, size }) {
      const { present } = pushOf(repository);
      if (present.has(digest) || present.size >= MAX_COUNTED) return;
      present.set(digest, size);
      report({ ...blobOf(repository, digest), state: "done", how: "present", sizeBytes: size });
    },
    mounted(repository, digest, from) {
      report({ ...blobOf(repository, digest), state: "done", how: "mounted", sizeBytes: undefined, from });
    },
    sent(repository, { id }, { descriptor, sentBytes }) {
      const { digest, size } = descriptor;
      const push = pushOf(repository);
      push.sentBytes += sentBytes;
      // A client may ask for it afterwards.
      push.present.set(digest, 0);
      const title = titleOf(repository, digest);
      report({ type: "blob", id, title, state: "done", how: "sent", sizeBytes: size, sentBytes });
    },
    pushed(repository, reference, digest) {
      const { startedMs, sentBytes, present } = pushOf(repository);
      pushes.delete(repository);
      const presentBytes = [...present.values()].reduce((sum, size) => sum + size, 0);
      const durationMs = performance.now() - startedMs;
      report({ type: "pushed", reference, digest, sentBytes, presentBytes, durationMs });
    },
  };
}

function titleOf(repository: string, digest: Digest): string {
  return `${repository} ${shortDigest(digest)}`;
}
