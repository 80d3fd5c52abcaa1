import { setImmediate } from "node:timers/promises";
import pLimit from "p-limit";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { isLoopback } from "../oci/reference.ts";
import { usernameOf } from "../registry/auth/credentials.ts";
import { connect } from "../registry/connect.ts";
import { findBlob } from "../registry/find-blob.ts";
import { readTrust } from "../registry/http/trust.ts";
import type { Registry } from "../registry/registry.ts";
import type { Job } from "./job.ts";
import { type LargestFirst, largestFirst } from "./largest-first.ts";

/** HEAD requests at a time: they are small, and an image may have a hundred layers. */
const QUESTIONS = 16;
/** The first retry comes after a second, the fifth after sixteen. */
const RETRY_DELAY_MS = 1000;

/** A blob that is at the registry, or that the registry said it has. */
export type Brought = { readonly descriptor: Descriptor; readonly how: "present" | "mounted" | "sent" };

/** The repository that the image goes to. */
export type Target = {
  /** The registry, with retries that name what they are about. */
  registry(title?: string): Registry;
  /** Asks whether the repository has a blob. */
  ask(digest: Digest, title: string): ReturnType<typeof findBlob>;
  /** Uploads so many blobs at a time. The largest that waits is next. */
  readonly uploading: LargestFirst;
  /** Blobs that are at the registry, or on their way, by digest. */
  readonly brought: Map<Digest, Promise<Brought>>;
};

/** Greets the registry. Throws what `connect` and `readTrust` throw. */
export async function connectTarget({ options, login, signal, report }: Job): Promise<Target> {
  const { target, insecure, caFiles, skipVerify, parallel, retries, chunkBytes, stallTimeoutMs } = options;
  let isTold = false;
  const registry = await connect({
    target,
    credentials: login?.credentials,
    insecure,
    trust: await readTrust({ caFiles, skipVerify }),
    parallel,
    chunkBytes,
    stallTimeoutMs,
    memory: {
      directory: options.cacheDirectory,
      // A folder that takes no note takes none of the many that a push makes.
      onFailure(reason) {
        if (!isTold)
          report({ type: "notice", code: "PROGRESS_NOT_SAVED", directory: options.cacheDirectory, reason });
        isTold = true;
      },
    },
    retryPolicy: {
      retries,
      baseDelayMs: RETRY_DELAY_MS,
      signal,
      onRetry: ({ subject, ...retry }) => report({ type: "retry", title: subject, retries, ...retry }),
    },
    onAddressed: (origin) =>
      report({
        type: "registry",
        origin,
        username: login && usernameOf(login.credentials),
        credentialsFrom: login?.from,
        isExposed: login !== undefined && origin.startsWith("http:") && !isLoopback(target),
        isUnverified: skipVerify && origin.startsWith("https:"),
      }),
  });
  return targetAt(registry, parallel);
}

function targetAt(registry: Registry, parallel: number): Target {
  /** Questions under way, but for those in a backoff: they must not hold up blobs that are ready. */
  const questions = new Set<Promise<unknown>>();
  // With one upload at a time, one request follows another.
  const asking = pLimit(parallel === 1 ? 1 : QUESTIONS);
  const registryFor = (title?: string, onRetry?: () => void): Registry => {
    const { retryPolicy } = registry;
    return {
      ...registry,
      retryPolicy: {
        ...retryPolicy,
        onRetry(retry) {
          onRetry?.();
          retryPolicy.onRetry(title === undefined ? retry : { ...retry, subject: title });
        },
      },
    };
  };
  return {
    registry: registryFor,
    async ask(digest, title) {
      const delayed = Promise.withResolvers<void>();
      const answer = asking(() => findBlob(registryFor(title, delayed.resolve), digest));
      const question = Promise.race([answer, delayed.promise]).catch(() => undefined);
      questions.add(question);
      void question.then(() => questions.delete(question));
      return answer;
    },
    uploading: largestFirst(parallel, async () => {
      while (questions.size > 0) await Promise.all(questions);
      // Let continuations of the last answer queue their uploads first.
      await setImmediate();
    }),
    brought: new Map(),
  };
}
