import type { Registry } from "../registry.ts";
import { type ChunkLimits, chooseChunkSize, LAST_CHUNK_MS } from "./chunk-size.ts";
import { isServerlessRegistry, type Upload } from "./session.ts";

/** R2 cannot assemble a larger blob: https://developers.cloudflare.com/r2/platform/limits/ */
export const R2_MAX_BLOB_BYTES = 5 * 1024 ** 3;

/** An upload begins anew with larger chunks if it has at least this many small ones left. */
const WORTH_ANEW = 4;

/**
 * Chooses the chunk size of a new upload, in bytes, from the limits of the registry and the rate of the link.
 *
 * @param blobBytes undefined while the blob grows: it may become as large as R2 allows
 * @param wishBytes the user's chunk size
 */
export function planChunks(
  registry: Registry,
  blobBytes: number | undefined,
  wishBytes: number | undefined,
  limits: ChunkLimits,
): number {
  const { learned, link, sending } = registry;
  const mostBytes = blobBytes ?? R2_MAX_BLOB_BYTES;
  if (goesWhole(registry)) return Math.max(mostBytes, 1);
  const rate = link.bytesPerSecond();
  const bodyRate = rate && rate / sending.busy();
  return chooseChunkSize(
    mostBytes,
    wishBytes,
    limits,
    learned.maxBodyBytes,
    bodyRate,
    blobBytes === undefined,
  );
}

/**
 * Adapts the chunk size to the link's rate between two chunks. At serverless-registry the upload has to begin anew, since R2
 * requires equal chunks: that is worth losing a small first chunk, if many more would follow.
 *
 * @returns whether to begin the upload anew
 */
export function adaptChunks(
  registry: Registry,
  upload: Upload,
  size: number | undefined,
  wishBytes: number | undefined,
): boolean {
  const { session, chunkBytes, limits, isRecalled } = upload;
  if (session.offset === 0 || goesWhole(registry)) return false;
  const leftBytes = (size ?? R2_MAX_BLOB_BYTES) - session.offset;
  if (!isServerlessRegistry(session)) {
    upload.chunkBytes = planChunks(registry, size && leftBytes, wishBytes, limits);
    return false;
  }
  const plannedBytes = planChunks(registry, size, wishBytes, limits);
  const probeBytes = chooseChunkSize(size ?? R2_MAX_BLOB_BYTES, undefined, limits);
  const isProbe = session.offset === chunkBytes && chunkBytes === probeBytes;
  const isWorthIt = plannedBytes >= 2 * chunkBytes && leftBytes >= WORTH_ANEW * chunkBytes;
  if (!isProbe || isRecalled || !isWorthIt) return false;
  upload.chunkBytes = plannedBytes;
  return true;
}

/** Reduces the concurrent uploads on a link that is too slow for the smallest chunks to end after a stop. */
export function fitWidth({ link, sending, learned }: Registry, limits: ChunkLimits): void {
  const rate = link.bytesPerSecond();
  if (rate === undefined) return;
  const leastBytes = chooseChunkSize(0, undefined, limits, learned.maxBodyBytes, 0);
  sending.allow(Math.floor((rate * LAST_CHUNK_MS) / 1000 / leastBytes));
}

/** Tells whether to send blobs of any size in one PUT. */
export function goesWhole({ learned: { wholePuts } }: Registry): boolean {
  return wholePuts === "only" || wholePuts === "preferred";
}
