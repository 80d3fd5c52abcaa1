import { PushError, RegistryError, statusOf } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import { type Manifest, referencesOf } from "../oci/manifest.ts";
import { findBlob } from "./find-blob.ts";
import { exchangePersistently } from "./http/send.ts";
import { type Answer, MAX_ANSWER_BYTES } from "./http/send-once.ts";
import { printable } from "./http/spec-errors.ts";
import { isTransient } from "./http/transient.ts";
import { type Call, manifestUrl, type Repository, withRetries } from "./registry.ts";

/** Few: the manifest was accepted, and most registries have said its digest. */
const READ_RETRIES = 2;

/**
 * Returns which of some digests a registry names as missing, if it refused a manifest for that reason. Undefined for any
 * other failure.
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
 * Publishes a manifest under a tag or its digest. The last step of a push: the registry must have everything that the
 * manifest names. Unless the registry says the digest of what it stored, the manifest is read back. Throws
 * `CONTENT_MISMATCH` for another one.
 *
 * @param reference a tag or a digest
 * @returns the subject that the registry has noted: it lists what refers to that
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
  // distribution 2.8 answers 500 where it does not have the blobs.
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

/** Says so where a manifest was probably refused for what serverless-registry wants, and the specification does not. */
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

/** Compares what a registry has with what it confirmed. One that does not let this user read is believed. */
async function verifyStored(at: Repository, manifest: Manifest, call: Call): Promise<void> {
  const answer = await readManifest(at, manifest, call);
  if (answer === undefined) return;
  // A longer manifest is cut off. A compressed one was not asked for.
  if (manifest.bytes.length >= MAX_ANSWER_BYTES || answer.headers.has("content-encoding")) return;
  if (Buffer.compare(answer.bytes, manifest.bytes) === 0) return;
  throw new PushError(
    "CONTENT_MISMATCH",
    `The registry accepted the manifest ${manifest.digest}, but returns another one under this digest.`,
  );
}

/** GET by digest. Undefined if the registry refuses or fails. */
async function readManifest(at: Repository, manifest: Manifest, call: Call): Promise<Answer | undefined> {
  const url = manifestUrl(at, manifest.digest);
  const request = { method: "GET", url, headers: { accept: manifest.mediaType } } as const;
  const isRetryable = (error: unknown) => isMissing(error) || isTransient(error);
  try {
    return await exchangePersistently(withRetries(at, READ_RETRIES), request, [200], call, isRetryable);
  } catch (error) {
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    if (!isMissing(error)) return undefined;
    // Some registries answer 404, too, where a user has no right to read.
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
