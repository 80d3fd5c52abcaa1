import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { retry } from "../retry.ts";
import { exchange } from "./http/send.ts";
import { isTransient, retryAfterMs } from "./http/transient.ts";
import { blobUrl, type Call, type Repository } from "./registry.ts";

/** A blob that the registry has. serverless-registry reports a wrong size for mounted blobs. */
export type FoundBlob = { readonly sizeBytes: number | undefined };

/** HEAD: asks whether the repository has a blob. Undefined if it does not. */
export function findBlob(at: Repository, digest: Digest, call: Call): Promise<FoundBlob | undefined> {
  return retry(at.registry.retries, isTransient, retryAfterMs, () => headBlob(at, digest, call), call);
}

/**
 * Asks the same within the limit of `asking`, and holds no slot during a backoff. `sending` waits for the answer before it
 * chooses the next blob, unless the request is retried: one slow answer must not delay blobs that are ready.
 */
export async function askForBlob(
  at: Repository,
  { digest, size }: Pick<Descriptor, "digest" | "size">,
  call: Call,
): Promise<FoundBlob | undefined> {
  const { asking, questions, retries } = at.registry;
  const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
  const onRetry: Call["onRetry"] = (retry) => {
    settle();
    questions.delete(settled);
    call.onRetry(retry);
  };
  // Questions go before blobs where both share slots.
  const attempt = () => asking.run(Number.POSITIVE_INFINITY, () => headBlob(at, digest, call));
  questions.add(settled);
  try {
    const found = await retry(retries, isTransient, retryAfterMs, attempt, { ...call, onRetry });
    if (found === undefined || found.sizeBytes === size) return found;
    // serverless-registry reports a wrong size for mounted blobs. A website may answer 200 to everything.
    const { learned } = at.registry;
    learned.answersAll ??= findBlob(at, unknownDigest(), call).then((any) => any !== undefined);
    return (await learned.answersAll) ? undefined : found;
  } finally {
    settle();
    questions.delete(settled);
  }
}

/** Returns the digest of a blob that no registry has. */
function unknownDigest(): Digest {
  return digestOf(crypto.getRandomValues(new Uint8Array(32)));
}

async function headBlob(at: Repository, digest: Digest, call: Call): Promise<FoundBlob | undefined> {
  const request = { method: "HEAD", url: blobUrl(at, digest) } as const;
  const { status, headers } = await exchange(at, request, [200, 404], call);
  if (status === 404) return undefined;
  const length = headers.get("content-length");
  return { sizeBytes: length === null ? undefined : Number(length) };
}
