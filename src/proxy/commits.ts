import { messageOf, PushError } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";

/** A blob on its way to the registry, of which the client has sent all bytes. */
type Commit = {
  readonly descriptor: Descriptor;
  /** Resolves when the registry has the blob. */
  readonly done: Promise<unknown>;
  /** The error of a failed upload. */
  failure: unknown;
};

/** Tracks blobs on their way to the registry, and those that it wrongly reports as present. */
export type Commits = {
  /** Adds a blob on its way. */
  add(repository: string, descriptor: Descriptor, done: Promise<unknown>): Commit;
  /** Returns a blob that is on its way or has failed. */
  find(repository: string, digest: Digest): Commit | undefined;
  /** Forgets failures that a client was told. */
  forget(repository: string, digests: readonly Digest[]): void;
  /** Adds blobs that the registry reports as present, but misses in a manifest: the next client has to send them. */
  lack(repository: string, digests: readonly Digest[]): void;
  isLacking(repository: string, digest: Digest): boolean;
  /** Tells whether a blob is on its way. */
  isWaiting(): boolean;
  /** Waits until no blob is on its way. @returns the failures that no client was told */
  settled(): Promise<PushError[]>;
};

/** The limit on failures and missing blobs: a hostile client must not fill the memory. */
const MAX_NOTED = 1000;

export function noteCommits(): Commits {
  const commits = new Map<string, Commit>();
  const lacking = new Set<string>();
  const keyOf = (repository: string, digest: Digest) => `${repository}@${digest}`;

  return {
    add(repository, descriptor, done) {
      const key = keyOf(repository, descriptor.digest);
      const commit: Commit = { descriptor, done, failure: undefined };
      commits.set(key, commit);
      lacking.delete(key);
      done.then(
        () => commits.get(key) === commit && commits.delete(key),
        (error: unknown) => {
          commit.failure = error;
          const failed = [...commits].filter(([, { failure }]) => failure !== undefined);
          for (const [old] of failed.slice(0, -MAX_NOTED)) commits.delete(old);
        },
      );
      return commit;
    },
    find: (repository, digest) => commits.get(keyOf(repository, digest)),
    forget(repository, digests) {
      for (const digest of digests) {
        const key = keyOf(repository, digest);
        if (commits.get(key)?.failure !== undefined) commits.delete(key);
      }
    },
    lack(repository, digests) {
      for (const digest of digests) lacking.add(keyOf(repository, digest));
      for (const old of [...lacking].slice(0, -MAX_NOTED)) lacking.delete(old);
    },
    isLacking: (repository, digest) => lacking.has(keyOf(repository, digest)),
    isWaiting: () => [...commits.values()].some(({ failure }) => failure === undefined),
    async settled() {
      await Promise.allSettled([...commits.values()].map(({ done }) => done));
      return [...commits].flatMap(([blob, { failure }]) =>
        failure === undefined ? [] : [lost(blob, failure)],
      );
    },
  };
}

function lost(blob: string, cause: unknown): PushError {
  const { code, hint } =
    cause instanceof PushError ? cause : { code: "REGISTRY_FAILED" as const, hint: undefined };
  return new PushError(code, `The blob ${blob} could not be uploaded. ${messageOf(cause)}`, { hint, cause });
}
