import { PushError, RegistryError, statusOf } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import { type Manifest, referencesOf } from "../oci/manifest.ts";
import { findBlob } from "./find-blob.ts";
import { exchangePersistently } from "./http/send.ts";
import { type Answer, MAX_ANSWER_BYTES } from "./http/send-once.ts";
import { printable } from "./http/spec-errors.ts";
import { isTransient } from "./http/transient.ts";
import { type Call, manifestUrl, type Repository, withFewRetries } from "./registry.ts";

/**
 * Returns the given digests that a registry names as missing, if it refused a manifest for missing blobs. Undefined for
 * any other failure.
 */
export function missingBlobs(error: unknown, digests: readonly Digest[]): Digest[] | undefined {
  if (!(error instanceof RegistryError)) return undefined;
  const { specCodes, namedDigests } = error.answer;
  // The spec's code, and that of Docker's older registries.
  if (!specCodes.some((code) => code === "BLOB_UNKNOWN" || code === "MANIFEST_BLOB_UNKNOWN"))
    return undefined;
  return digests.filter((digest) => namedDigests.includes(digest));
}

/**
 * PUT: publishes a manifest under a tag or its digest. The registry must have everything that the manifest lists. Reads the
 * manifest back if the registry does not report its digest. Throws `CONTENT_MISMATCH` for another manifest.
 *
 * @param reference a tag or a digest
 * @returns the subject, if the registry added the manifest to the subject's list of referrers (`OCI-Subject`)
 */
export async function putManifest(
  at: Repository,
  reference: string,
  manifest: Manifest,
  call: Call,
): Promise<{ readonly subject: string | undefined }> {
  const request = {
    method: "PUT",
    url: manifestUrl(at, reference),
    headers: { "content-type": manifest.mediaType },
    body: new Blob([manifest.bytes]),
  } as const;
  // distribution 2.8 answers 500 if it lacks blobs. Do not retry that.
  const isRetryable = (error: unknown) => isTransient(error) && missingBlobs(error, []) === undefined;
  const { headers } = await exchangePersistently(at, request, [201], call, isRetryable).catch(
    (error: unknown) => {
      throw explained(error, manifest);
    },
  );
  const stored = headers.get("docker-content-digest");
  if (stored === null) await verifyStored(at, manifest, call);
  else if (stored !== manifest.digest) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `The registry stored the manifest under another digest, ${printable(stored, at.registry.auth.secrets())} instead of ${manifest.digest}.`,
    );
  }
  return { subject: headers.get("oci-subject") ?? undefined };
}

/** Explains a refusal that is probably due to requirements of some registries beyond the specification. */
function explained(error: unknown, manifest: Manifest): unknown {
  if (!(error instanceof RegistryError)) return error;
  const { status, specCodes, namedDigests } = error.answer;
  if (status !== 400 && status !== 404) return error;
  const { subject, mediaType, foreign } = referencesOf(manifest.bytes, "the manifest");
  const isBlobMissing = specCodes.some((code) => code.endsWith("BLOB_UNKNOWN"));
  const explain = (reason: string, hint: string) =>
    new PushError(error.code, `${error.message} ${reason}`, { hint, cause: error });
  if (subject !== undefined && !(isBlobMissing && !namedDigests.includes(subject))) {
    return explain(
      `The manifest has a subject, ${subject}, which some registries require to be pushed first.`,
      "Push the subject to the same repository first.",
    );
  }
  if (isBlobMissing && foreign.some((digest) => namedDigests.length === 0 || namedDigests.includes(digest))) {
    return explain(
      "The manifest lists a layer that only its own URL provides, which some registries do not allow.",
      "Push to another registry, or build the image on a base without such layers.",
    );
  }
  if (mediaType === undefined && !isBlobMissing) {
    return explain(
      'The manifest has no "mediaType", as Helm and others write it. serverless-registry requires one.',
      "Push it to another registry: adding the type would change its digest.",
    );
  }
  return error;
}

/** Reads a manifest back and compares it. Passes if the registry does not let this user read. */
async function verifyStored(at: Repository, manifest: Manifest, call: Call): Promise<void> {
  const answer = await readManifest(at, manifest, call);
  if (answer === undefined) return;
  // Do not compare a manifest that was cut off, or that the registry compressed without being asked.
  if (manifest.bytes.length >= MAX_ANSWER_BYTES || answer.headers.has("content-encoding")) return;
  if (Buffer.compare(answer.bytes, manifest.bytes) === 0) return;
  throw new PushError(
    "CONTENT_MISMATCH",
    `The registry accepted the manifest ${manifest.digest}, but returns another one under this digest.`,
  );
}

/** GET: reads a manifest by its digest. Undefined if the registry refuses or fails. */
async function readManifest(at: Repository, manifest: Manifest, call: Call): Promise<Answer | undefined> {
  const url = manifestUrl(at, manifest.digest);
  const request = { method: "GET", url, headers: { accept: manifest.mediaType } } as const;
  const isRetryable = (error: unknown) => isMissing(error) || isTransient(error);
  try {
    return await exchangePersistently(withFewRetries(at), request, [200], call, isRetryable);
  } catch (error) {
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    if (!isMissing(error)) return undefined;
    // Some registries answer 404 without the right to read. They then hide the config as well.
    const [config] = referencesOf(manifest.bytes, "the manifest").blobs;
    const found = config && (await findBlob(at, config, call).catch(() => undefined));
    if (found === undefined) return undefined;
    throw new PushError(
      "CONTENT_MISMATCH",
      `The registry accepted the manifest ${manifest.digest}, but does not have it: ${error.message}`,
    );
  }
}

function isMissing(error: unknown): boolean {
  return statusOf(error) === 404;
}
