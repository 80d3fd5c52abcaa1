import { PushError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import { LEAST_TIMED_BYTES } from "./link-rate.ts";

/** Cloudflare's body limit for the smaller plans. serverless-registry advertises it. */
const DEFAULT_CHUNK_BYTES = 100_000_000;

/**
 * The time that a chunk should take. It is below `LAST_CHUNK_MS`, since the rate varies and other uploads join, and above the
 * second that serverless-registry needs between two writes of its state to R2.
 */
const CHUNK_SECONDS = 4;

/** The same while a blob grows: its last bytes wait for a full chunk. */
const GROWING_SECONDS = 1;

/** The limit for chunks of a growing blob is never below this. */
const GROWING_BYTES = 8 * 1024 * 1024;

/** After a stop, a running request with a chunk gets this long to end. */
export const LAST_CHUNK_MS = 6000;

/** The smallest part of S3 and R2. The chunk size on slow and unknown links if the server advertises no minimum. */
export const LEAST_LINK_BYTES = 5 * 1024 * 1024;

/** R2's greatest number of parts: https://developers.cloudflare.com/r2/objects/multipart-objects/ */
const MAX_CHUNKS = 10_000;

/** A first chunk of one byte looks like a lost one: `Range: 0-0` means one byte or none. */
const MIN_CHUNK_BYTES = 2;

/** The least last chunk. Registries read the range of a single byte in different ways. */
export const LEAST_TAIL_BYTES = 1024;

/** The limits that a registry advertises when an upload begins. */
export type ChunkLimits = {
  /** `OCI-Chunk-Min-Length`. Only the last chunk may be smaller. */
  readonly minBytes: number | undefined;
  /** `OCI-Chunk-Max-Length`, which serverless-registry and others send. */
  readonly maxBytes: number | undefined;
};

/**
 * The smallest chunk. No proxy has a lower limit, and with smaller ones a gigabyte takes tens of thousands of requests.
 */
const LEAST_CHUNK_BYTES = 64 * 1024;

/** The largest part of S3 and R2. A larger minimum is ignored. */
const MOST_MIN_BYTES = 5 * 1024 ** 3;

/**
 * Reads the limits from the answer to the POST that began the upload. Ignores invalid numbers, and a minimum that no
 * chunk could have.
 */
export function readChunkLimits(headers: Headers): ChunkLimits {
  const bytes = (name: string) => {
    const value = headers.get(name) ?? "";
    return /^[1-9]\d{0,14}$/.test(value) ? Number(value) : undefined;
  };
  const [minBytes = 0, maxBytes] = [bytes("oci-chunk-min-length"), bytes("oci-chunk-max-length")];
  const isSensible = minBytes > 0 && minBytes <= Math.min(maxBytes ?? MOST_MIN_BYTES, MOST_MIN_BYTES);
  return { minBytes: isSensible ? minBytes : undefined, maxBytes };
}

/** Throws `REGISTRY_UNSUPPORTED` for a maximum that makes uploads too slow. */
export function assertChunkLimits({ maxBytes }: ChunkLimits, origin: string): void {
  if (maxBytes === undefined || maxBytes >= LEAST_CHUNK_BYTES) return;
  throw new PushError(
    "REGISTRY_UNSUPPORTED",
    `${origin} allows chunks of ${formatBytes(maxBytes)} at most (OCI-Chunk-Max-Length). An image needs at least ${formatBytes(LEAST_CHUNK_BYTES)}.`,
    { hint: "Raise the limit in the registry's configuration." },
  );
}

/**
 * Chooses the chunk size of an upload, in bytes. It never exceeds the server's maximum. It is at least the server's minimum,
 * and large enough for R2's number of parts. Within these limits it is the user's wish, or what the link sends in some
 * seconds, or a small chunk on an unknown link.
 *
 * @param bodyLimitBytes the limit learned from refusals
 * @param bytesPerSecond one upload's share of the link's rate, if known
 * @param grows whether the blob is still growing
 */
export function chooseChunkSize(
  blobBytes: number,
  wishBytes: number | undefined,
  limits: ChunkLimits,
  bodyLimitBytes = Number.POSITIVE_INFINITY,
  bytesPerSecond?: number,
  grows = false,
): number {
  const maxBytes = Math.min(
    limits.maxBytes ?? Number.POSITIVE_INFINITY,
    Math.max(bodyLimitBytes, LEAST_CHUNK_BYTES),
  );
  const wanted =
    wishBytes ?? Math.min(linkChunk(limits, bytesPerSecond, grows), limits.maxBytes ?? DEFAULT_CHUNK_BYTES);
  const leastBytes = Math.max(limits.minBytes ?? 0, MIN_CHUNK_BYTES, Math.ceil(blobBytes / MAX_CHUNKS));
  return withoutTail(blobBytes, Math.min(Math.max(wanted, leastBytes), maxBytes), leastBytes, maxBytes);
}

/** Avoids a last chunk of a few bytes. Prefers smaller chunks: there may be an unknown body limit. */
function withoutTail(blobBytes: number, chunkBytes: number, leastBytes: number, maxBytes: number): number {
  const tailBytes = blobBytes % chunkBytes;
  if (blobBytes <= chunkBytes || tailBytes === 0 || tailBytes >= LEAST_TAIL_BYTES) return chunkBytes;
  const fullChunks = Math.floor(blobBytes / chunkBytes);
  const smaller = Math.ceil(blobBytes / (fullChunks + 1));
  if (smaller >= leastBytes) return smaller;
  const larger = Math.ceil(blobBytes / fullChunks);
  return larger <= maxBytes ? larger : chunkBytes;
}

function linkChunk(
  { minBytes = LEAST_LINK_BYTES }: ChunkLimits,
  bytesPerSecond: number | undefined,
  grows: boolean,
): number {
  if (bytesPerSecond === undefined) return Math.max(LEAST_LINK_BYTES, minBytes);
  const mostBytes = grows
    ? Math.max(GROWING_BYTES, bytesPerSecond * GROWING_SECONDS)
    : Number.POSITIVE_INFINITY;
  const wanted = Math.floor(Math.min(bytesPerSecond * CHUNK_SECONDS, mostBytes));
  // Smaller chunks are not measured, and would never show that the link has become faster.
  return Math.max(wanted, minBytes, LEAST_TIMED_BYTES);
}

/**
 * Returns the size to try after a refused body, in bytes: half of it, or less if the refusal advertises less. Undefined at the
 * server's minimum, or at 64 KiB.
 */
export function shrinkChunk(refusedBytes: number, minBytes = 0, refusal?: Headers): number | undefined {
  const leastBytes = Math.max(minBytes, LEAST_CHUNK_BYTES);
  if (refusedBytes <= leastBytes) return undefined;
  const advertised = refusal && readChunkLimits(refusal).maxBytes;
  return Math.max(Math.min(advertised ?? refusedBytes, Math.ceil(refusedBytes / 2)), leastBytes);
}
