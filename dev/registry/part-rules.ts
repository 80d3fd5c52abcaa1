/**
 * R2's rules for a multipart upload: every part has the same size and is no smaller than the minimum, only the
 * last may be smaller. The registry checks some of it when a part arrives (`uploadChunk` in its r2.ts), R2 the
 * rest when the upload is completed. The gap between the two is why a wrong chunk may be accepted and only the
 * closing PUT fails.
 */

/** What R2 allows in one multipart upload. The registry answers 500 to a PATCH beyond it. */
export const R2_MAX_PARTS = 10_000;

/** The registry's own check: may a part of this size follow the ones that are there? */
export function acceptsPart(partSizes: readonly number[], sizeBytes: number, minChunkBytes: number): boolean {
  const last = partSizes.at(-1);
  if (last === undefined || sizeBytes < last) return true;
  const lastIsRegular = last >= minChunkBytes && last === partSizes[0];
  return lastIsRegular && sizeBytes === last;
}

/** R2's check, made when the upload is completed. */
export function canComplete(partSizes: readonly number[], minChunkBytes: number): boolean {
  const first = partSizes[0];
  const last = partSizes.at(-1);
  if (first === undefined || last === undefined) return false;
  return last <= first && partSizes.slice(0, -1).every((size) => size === first && size >= minChunkBytes);
}
