import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { isLoopback } from "../oci/reference.ts";
import { usernameOf } from "../registry/auth/credentials.ts";
import { connect } from "../registry/connect.ts";
import { readTrust } from "../registry/http/trust.ts";
import type { Repository } from "../registry/registry.ts";
import type { BlobId } from "../report/events.ts";
import { callOf, type Job } from "./job.ts";

/** The first retry comes after a second, the fifth after sixteen. */
const RETRY_DELAY_MS = 1000;

/** A blob that is at the registry, or that the registry said it has. */
export type Brought = { readonly descriptor: Descriptor; readonly how: "present" | "mounted" | "sent" };

/** Where the image goes. */
export type Target = {
  readonly at: Repository;
  /** Blobs that are at the registry, or on their way, by digest. */
  readonly brought: Map<Digest, { readonly id: BlobId; readonly upload: Promise<Brought> }>;
};

/** Greets the registry. Throws what `connect` and `readTrust` throw. */
export async function connectTarget(job: Job): Promise<Target> {
  const { options, login, report } = job;
  const { target, caFiles, skipVerify, retries, cacheDirectory } = options;
  let isTold = false;
  const registry = await connect(
    {
      ...options,
      credentials: login?.credentials,
      trust: await readTrust({ caFiles, skipVerify }),
      retries: { count: retries, baseDelayMs: RETRY_DELAY_MS },
      notes: {
        directory: cacheDirectory,
        // A folder that takes no note takes none of the many that a push makes.
        onFailure(reason) {
          if (!isTold)
            report({ type: "notice", code: "PROGRESS_NOT_SAVED", directory: cacheDirectory, reason });
          isTold = true;
        },
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
    },
    callOf(job),
  );
  return { at: { registry, name: target.repository }, brought: new Map() };
}
