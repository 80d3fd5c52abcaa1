import type { Registry } from "../registry.ts";
import { type ChunkLimits, chooseChunkSize, LAST_CHUNK_MS } from "./chunk-size.ts";
import { isServerlessRegistry, type Upload } from "./session.ts";

/** R2 cannot put together a larger blob: https://developers.cloudflare.com/r2/platform/limits/ */
export const R2_MAX_BLOB_BYTES = 5 * 1024 ** 3;

/** With so many more small chunks to send, an upload begins anew in larger ones. */
const WORTH_ANEW = 4;

/**
 * Chooses the chunk size of an upload that begins now, in bytes, from all that is known of the registry and of the
 * link.
 *
 * @param blobBytes undefined while the blob grows: it may become as large as R2 takes
 * @param wishBytes the user's wish
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
 * Takes the chunk size that the link wants by now, between two chunks. R2 wants all chunks equal: at serverless-registry
 * the upload has to begin anew.
 *
 * @returns whether it is to begin anew. That is worth a small first chunk, if many more would follow
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

/** Lets fewer uploads run at a time on a link so slow that even the smallest chunks would not end after a stop. */
export function fitWidth({ link, sending, learned }: Registry, limits: ChunkLimits): void {
  const rate = link.bytesPerSecond();
  if (rate === undefined) return;
  const leastBytes = chooseChunkSize(0, undefined, limits, learned.maxBodyBytes, 0);
  sending.allow(Math.floor((rate * LAST_CHUNK_MS) / 1000 / leastBytes));
}

/** Tells whether blobs go up in one PUT, however large. */
export function goesWhole({ learned: { wholePuts } }: Registry): boolean {
  return wholePuts === "only" || wholePuts === "preferred";
}
