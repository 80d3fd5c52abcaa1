import { PushError, RegistryError, statusOf } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import type { Registry } from "../registry.ts";
import { shrinkChunk } from "./chunk-size.ts";
import { isUploadRefused } from "./failures.ts";
import { sessionFromRefusal, type Upload } from "./session.ts";

/** The broken connections in a row during the first chunk that suggest a proxy's body limit. */
const CUTS_OF_A_LIMIT = 2;

/**
 * Learns from a refusal the limits of the registry, or of a proxy in front of it: smaller bodies, or no chunks.
 *
 * @param size the blob's size in bytes; infinite while it grows
 * @returns whether to send the blob again in another way
 */
export function learnFromRefusal(registry: Registry, upload: Upload, size: number, error: unknown): boolean {
  const hasLearned = learn(registry, upload, size, error);
  if (hasLearned && error instanceof RegistryError) {
    const { learned } = registry;
    learned.toldBodyBytes = learned.maxBodyBytes;
    learned.toldAtMs = Date.now();
  }
  return hasLearned;
}

function learn({ learned }: Registry, upload: Upload, size: number, error: unknown): boolean {
  const { chunkBytes, limits } = upload;
  const isWhole = size <= chunkBytes;
  // A registry that advertises a maximum accepts chunks, and no larger body.
  const mayBeWhole = limits.maxBytes === undefined;
  // Google Artifact Registry accepts no chunks, GHCR only small ones: https://github.com/orgs/community/discussions/26299
  if (!isWhole && mayBeWhole && isUnsupported(error)) {
    learned.wholePuts = "only";
    return true;
  }
  // Some registries accept no PUT with a body.
  if (isWhole && learned.wholePuts !== "only" && !learned.emptyPuts && isUnsupported(error)) {
    learned.emptyPuts = true;
    return true;
  }
  if (!isSizeRefused(error)) return false;
  if (isWhole && learned.wholePuts === "only") return false;
  if (isWhole && learned.wholePuts === "preferred") {
    learned.wholePuts = "refused";
    return true;
  }
  if (!isWhole && mayBeWhole && statusOf(error) === 416 && learned.wholePuts === undefined) {
    learned.wholePuts = "preferred";
    return true;
  }
  const headers = error instanceof RegistryError ? error.answer.headers : undefined;
  const smallerBytes = shrinkChunk(Math.min(chunkBytes, size), limits.minBytes, headers);
  if (smallerBytes === undefined) return false;
  learned.maxBodyBytes = Math.min(smallerBytes, learned.maxBodyBytes ?? smallerBytes);
  return true;
}

/**
 * Throws `BODY_TOO_LARGE` if connections keep breaking before the server has any byte: some proxies close the connection
 * during a body that is too large, and their 413 is lost.
 *
 * @param cuts broken connections in a row
 */
export function suspectBodyLimit(
  cause: unknown,
  bodyBytes: number,
  cuts: number,
  minBytes: number | undefined,
): void {
  if (cuts < CUTS_OF_A_LIMIT || shrinkChunk(bodyBytes, minBytes) === undefined) return;
  throw new PushError(
    "BODY_TOO_LARGE",
    `The connection broke ${cuts} times during a request of ${formatBytes(bodyBytes)}: a proxy on the way may refuse its size.`,
    { hint: "Send smaller chunks with --chunk-size.", cause },
  );
}

/** Recognizes a 413, and GHCR's 416, which is about the size and has no offset. */
export function isSizeRefused(error: unknown): boolean {
  if (!(error instanceof PushError)) return false;
  if (error.code === "BODY_TOO_LARGE") return true;
  return statusOf(error) === 416 && sessionFromRefusal(error) === undefined && !isUploadRefused(error);
}

/** Tells whether a registry does not support a request: it accepts no chunks, or no PUT with a body. */
export function isUnsupported(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status, specCodes } = error.answer;
  return status === 405 || status === 501 || (status < 500 && specCodes.includes("UNSUPPORTED"));
}
