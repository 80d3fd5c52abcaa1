import { PushError, RegistryError } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { Manifest } from "../oci/manifest.ts";
import { exchangePersistently } from "./http/send.ts";
import { printable } from "./http/spec-errors.ts";
import { type Call, manifestUrl, type Repository } from "./registry.ts";

/**
 * Returns which of some digests a registry lacks, if it refused a manifest for that reason; all of them if it does not
 * say which. Undefined for any other failure.
 */
export function missingBlobs(error: unknown, digests: readonly Digest[]): Digest[] | undefined {
  if (!(error instanceof RegistryError)) return undefined;
  const { specCodes, namedDigests } = error.answer;
  // The spec's code, and that of Docker's older registries.
  if (!specCodes.some((code) => code === "BLOB_UNKNOWN" || code === "MANIFEST_BLOB_UNKNOWN"))
    return undefined;
  const named = digests.filter((digest) => namedDigests.includes(digest));
  return named.length > 0 ? named : [...digests];
}

/**
 * Publishes a manifest under a tag or its digest. The last step of a push: the registry must have everything that the
 * manifest names.
 *
 * @param reference a tag or a digest
 */
export async function putManifest(
  at: Repository,
  reference: string,
  manifest: Manifest,
  call: Call,
): Promise<void> {
  const request = {
    method: "PUT",
    url: manifestUrl(at, reference),
    headers: { "content-type": manifest.mediaType },
    body: new Blob([manifest.bytes]),
  } as const;
  const { headers } = await exchangePersistently(at, request, [201], call);
  const stored = headers.get("docker-content-digest");
  if (stored !== null && stored !== manifest.digest) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `The registry stored the manifest as ${printable(stored, at.registry.auth.secrets())}, but it is ${manifest.digest}.`,
    );
  }
}
