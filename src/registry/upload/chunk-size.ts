import { LEAST_TIMED_BYTES } from "./link-rate.ts";

/** Cloudflare's limit for a request of the smaller plans, and what serverless-registry advertises. */
const DEFAULT_CHUNK_BYTES = 100_000_000;

/** What a lost chunk may cost. The rate varies, and who measured it may have had the link alone: hence not the 15 s meant. */
const CHUNK_SECONDS = 10;

/** On the slowest link, where the server does not say what it takes: the least part of S3 and R2. */
const LEAST_LINK_BYTES = 5 * 1024 * 1024;

/** R2 puts a blob together from at most so many parts: https://developers.cloudflare.com/r2/objects/multipart-objects/ */
const MAX_CHUNKS = 10_000;

/** `Range: 0-0` says one byte, or none: a first chunk of one byte could not be told from a lost one. */
const MIN_CHUNK_BYTES = 2;

/** What a registry said about chunks when the upload began. */
export type ChunkLimits = {
  /** `OCI-Chunk-Min-Length`; only the last chunk may be smaller. */
  readonly minBytes: number | undefined;
  /** `OCI-Chunk-Max-Length`, which serverless-registry and others send. */
  readonly maxBytes: number | undefined;
};

/** Reads the limits from the answer to the POST that began the upload. What is no number says nothing. */
export function readChunkLimits(headers: Headers): ChunkLimits {
  const bytes = (name: string) => {
    const value = headers.get(name) ?? "";
    return /^[1-9]\d{0,14}$/.test(value) ? Number(value) : undefined;
  };
  return { minBytes: bytes("oci-chunk-min-length"), maxBytes: bytes("oci-chunk-max-length") };
}

/**
 * The one chunk size of an upload, in bytes: R2 wants all chunks equal. The server's maximum is never exceeded; a
 * user's wish comes next, then the server's minimum and the greatest number of chunks. Without a wish it is what goes
 * through the link in some seconds.
 *
 * @param bodyLimitBytes what passed where a larger body was refused
 * @param bytesPerSecond of one body, where that is known
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
  // Where chunks were too small to be timed, a link that has become faster would never be noticed.
  return Math.max(Math.floor(bytesPerSecond * CHUNK_SECONDS), minBytes, LEAST_TIMED_BYTES);
}

/** No proxy is set to less, and below it a gigabyte would be tens of thousands of requests. */
const LEAST_CHUNK_BYTES = 64 * 1024;

/**
 * The size to try after a body was refused: what the refusal advertises, else half. Undefined where the server's own
 * minimum, or what makes sense, is reached.
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
