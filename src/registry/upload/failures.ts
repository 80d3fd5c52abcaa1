import { PushError, RegistryError, statusOf } from "../../errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { findBlob } from "../find-blob.ts";
import { isTransient } from "../http/transient.ts";
import type { Call, Repository } from "../registry.ts";
import { sessionFromRefusal } from "./session.ts";

/** The codes for a forgotten upload, or one at another offset. olareg and others send them with 400. */
const UPLOAD_CODES = new Set(["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"]);

/** Tells whether a registry refused a request because of its upload's state. */
export function isUploadRefused(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status, specCodes } = error.answer;
  return [400, 404, 416].includes(status) && specCodes.some((code) => UPLOAD_CODES.has(code));
}

/**
 * Tells whether the registry has the blob although its closing PUT failed. If a reused connection breaks, Bun may send a
 * request without a body twice, and the second answer is that of a forgotten upload.
 *
 * @param mayGoOn whether the upload may resume. If not, errors of the question are ignored
 */
export async function isThere(
  at: Repository,
  digest: Digest,
  failure: unknown,
  mayGoOn: boolean,
  call: Call,
): Promise<boolean> {
  if (mayGoOn) return (await findBlob(at, digest, call)) !== undefined;
  if (!maySessionBeDead(failure)) return false;
  const found = await findBlob(at, digest, call).catch(() => undefined);
  call.signal.throwIfAborted();
  return found !== undefined;
}

/** Tells whether an upload may resume after a failure: a transient one, a wrong offset, or a forgotten session. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return isTransient(error);
  if (isUploadRefused(error)) return true;
  const { status } = error.answer;
  if (status === 416) return sessionFromRefusal(error) !== undefined;
  // 501, not implemented, is final although it is a 5xx.
  return status === 404 || (status !== 501 && isTransient(error));
}

/** Tells whether a closing PUT may have failed for a dead session: serverless-registry answers 500, and others 400 or 404. */
export function maySessionBeDead(error: unknown): boolean {
  return [400, 404, 500].includes(statusOf(error) ?? 0);
}

/** Tells whether the connection broke. */
export function isCut(error: unknown): boolean {
  return error instanceof PushError && error.code === "CONNECTION_LOST";
}
