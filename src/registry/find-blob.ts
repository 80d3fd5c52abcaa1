import type { Digest } from "../oci/digest.ts";
import { expectStatus } from "./http/expect-status.ts";
import { sendPersistently } from "./http/send.ts";
import { blobUrl, type Registry } from "./registry.ts";

/**
 * Asks whether the repository has a blob. Undefined where it has not.
 *
 * Only the status is to be believed: serverless-registry answers for a mounted blob with the size of the link.
 */
export async function findBlob(
  registry: Registry,
  digest: Digest,
): Promise<{ sizeBytes: number | undefined } | undefined> {
  const request = { method: "HEAD", url: blobUrl(registry, digest) } as const;
  const response = await sendPersistently(registry, request, (answer) =>
    expectStatus(registry, request, answer, 200, 404),
  );
  if (response.status === 404) return undefined;
  const length = response.headers.get("content-length");
  return { sizeBytes: length === null ? undefined : Number(length) };
}
