import { PushError, RegistryError } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { Manifest } from "../oci/manifest.ts";
import { expectStatus } from "./http/expect-status.ts";
import { sendPersistently } from "./http/send.ts";
import { printable } from "./http/spec-errors.ts";
import { manifestUrl, type Registry } from "./registry.ts";

/**
 * Tells which of some digests a registry misses, where it refused a manifest for that reason; all of them where it does
 * not say which. Undefined for any other failure.
 */
export function missingBlobs(error: unknown, digests: readonly Digest[]): Digest[] | undefined {
  if (!(error instanceof RegistryError)) return undefined;
  const { specCodes, namedDigests } = error.answer;
  // The spec's code, and what the older registries of Docker call it.
  if (!specCodes.some((code) => code === "BLOB_UNKNOWN" || code === "MANIFEST_BLOB_UNKNOWN"))
    return undefined;
  const named = digests.filter((digest) => namedDigests.includes(digest));
  return named.length > 0 ? named : [...digests];
}

/** Publishes an image under a tag. The last step of a push: everything that the manifest names must be there. */
export async function putManifest(registry: Registry, tag: string, manifest: Manifest): Promise<void> {
  const request = {
    method: "PUT",
    url: manifestUrl(registry, tag),
    headers: { "content-type": manifest.mediaType },
    body: new Blob([manifest.bytes]),
  } as const;
  const response = await sendPersistently(registry, request, (answer) =>
    expectStatus(registry, request, answer, 201),
  );
  const stored = response.headers.get("docker-content-digest");
  if (stored !== null && stored !== manifest.digest) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `The registry stored the manifest as ${printable(stored, registry.auth.secrets())}, but it is ${manifest.digest}.`,
    );
  }
}
