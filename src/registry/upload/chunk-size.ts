import { LEAST_TIMED_BYTES } from "./link-rate.ts";

/** The body limit of Cloudflare's smaller plans, which serverless-registry advertises. */
const DEFAULT_CHUNK_BYTES = 100_000_000;

/** A lost chunk should cost 15 s at most. The measured rate may be too high, so plan for less. */
const CHUNK_SECONDS = 10;

/** The chunk size on the slowest link, unless the server names a minimum: the smallest part of S3 and R2. */
const LEAST_LINK_BYTES = 5 * 1024 * 1024;

/** R2 assembles a blob from at most this many parts: https://developers.cloudflare.com/r2/objects/multipart-objects/ */
const MAX_CHUNKS = 10_000;

/** `Range: 0-0` means one byte or none. A first chunk of one byte would look like a lost one. */
const MIN_CHUNK_BYTES = 2;

/** A registry's limits for chunks, from the start of the upload. */
export type ChunkLimits = {
  /** `OCI-Chunk-Min-Length`. Only the last chunk may be smaller. */
  readonly minBytes: number | undefined;
  /** `OCI-Chunk-Max-Length`, which serverless-registry and others send. */
  readonly maxBytes: number | undefined;
};

/** Reads the limits from the answer to the POST that began the upload. Values that are not numbers are ignored. */
export function readChunkLimits(headers: Headers): ChunkLimits {
  const bytes = (name: string) => {
    const value = headers.get(name) ?? "";
    return /^[1-9]\d{0,14}$/.test(value) ? Number(value) : undefined;
  };
  return { minBytes: bytes("oci-chunk-min-length"), maxBytes: bytes("oci-chunk-max-length") };
}

/**
 * Chooses the one chunk size of an upload, in bytes: R2 wants all chunks equal. The server's maximum always holds. The
 * user's size comes next, then the server's minimum and the largest number of chunks. Without a size from the user, a
 * chunk takes some seconds on the link.
 *
 * @param bodyLimitBytes the size that passed after a larger body was refused
 * @param bytesPerSecond the rate of one body, if it is known
 */
export function chooseChunkSize(
  blobBytes: number,
  wishBytes: number | undefined,
  limits: ChunkLimits,
  bodyLimitBytes = Number.POSITIVE_INFINITY,
  bytesPerSecond?: number,
): number {
  const maxBytes = Math.min(limits.maxBytes ?? Number.POSITIVE_INFINITY, bodyLimitBytes);
  const wanted =
    wishBytes ?? Math.min(linkChunk(limits, bytesPerSecond), limits.maxBytes ?? DEFAULT_CHUNK_BYTES);
  return Math.min(
    Math.max(wanted, limits.minBytes ?? 0, MIN_CHUNK_BYTES, Math.ceil(blobBytes / MAX_CHUNKS)),
    maxBytes,
  );
}

function linkChunk({ minBytes = LEAST_LINK_BYTES }: ChunkLimits, bytesPerSecond: number | undefined): number {
  if (bytesPerSecond === undefined) return DEFAULT_CHUNK_BYTES;
  // Smaller chunks are not timed, and a link that has become faster would go unnoticed.
  return Math.max(Math.floor(bytesPerSecond * CHUNK_SECONDS), minBytes, LEAST_TIMED_BYTES);
}

/** No proxy is set to less. With less, a gigabyte would need tens of thousands of requests. */
const LEAST_CHUNK_BYTES = 64 * 1024;

/**
 * Chooses the size to try after a body was refused: the one that the refusal advertises, or else half. Undefined: the
 * server's minimum, or the smallest sensible size, is reached.
 */
export function shrinkChunk(
  refusedBytes: number,
  minBytes = LEAST_CHUNK_BYTES,
  refusal?: Headers,
): number | undefined {
  if (refusedBytes <= minBytes) return undefined;
  const advertised = refusal && readChunkLimits(refusal).maxBytes;
  const wanted =
    advertised !== undefined && advertised < refusedBytes ? advertised : Math.floor(refusedBytes / 2);
  return Math.max(wanted, minBytes);
}
