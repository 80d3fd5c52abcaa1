import { isLoopback } from "../oci/address.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { usernameOf } from "../registry/auth/credentials.ts";
import { connect } from "../registry/connect.ts";
import { readTrust } from "../registry/http/trust.ts";
import type { Repository } from "../registry/registry.ts";
import type { BlobId } from "../report/events.ts";
import { callOf, type Job } from "./job.ts";

/** The first retry waits up to a second. Each wait doubles. */
const RETRY_DELAY_MS = 1000;

/** A blob that was sent, or that the registry reports as present. */
export type Brought = { readonly descriptor: Descriptor; readonly how: "present" | "mounted" | "sent" };

/** The repository, and this push's uploads to it. */
export type Target = {
  readonly at: Repository;
  /** Finished and running uploads, by digest. */
  readonly brought: Map<Digest, { readonly id: BlobId; readonly upload: Promise<Brought> }>;
};

/** Connects to the registry, and checks the credentials. Throws what `connect` and `readTrust` throw. */
export async function connectTarget(job: Job): Promise<Target> {
  const { options, login, report, cache } = job;
  const { target, headers, caFiles, skipVerify, clientCertificate, retries, cacheDirectory } = options;
  let isTold = false;
  const registry = await connect(
    {
      ...options,
      credentials: login?.credentials,
      trust: await readTrust({ caFiles, skipVerify, clientCertificate }),
      retries: { count: retries, baseDelayMs: RETRY_DELAY_MS },
      notes: {
        ...cache,
        // If one note fails, all will: warn once.
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
          isExposed:
            (login !== undefined || Object.keys(headers).length > 0) &&
            origin.startsWith("http:") &&
            !isLoopback(new URL(origin)),
          isUnverified: skipVerify && origin.startsWith("https:"),
        }),
    },
    callOf(job),
  );
  return { at: { registry, name: target.repository }, brought: new Map() };
}
