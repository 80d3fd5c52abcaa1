import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import * as v from "valibot";
import { blobsOf } from "./compress-image.ts";

/** A blob in pieces that are files, as curl wants them. */
export type SplitBlob = v.InferOutput<typeof SPLIT_BLOBS>[number];

export const SPLIT_BLOBS = v.array(
  v.object({
    digest: v.string(),
    chunks: v.array(v.object({ path: v.string(), start: v.number(), end: v.number() })),
  }),
);

/** Cuts the blobs of an OCI layout. @returns the file that tells of the pieces */
export async function splitBlobs(layout: string, folder: string, chunkBytes: number): Promise<string> {
  const split: SplitBlob[] = [];
  for (const { path: blob, digest, size } of await blobsOf(layout)) {
    const chunks = [];
    for (let start = 0; start < size; start += chunkBytes) {
      const end = Math.min(size, start + chunkBytes) - 1;
      const path = join(folder, `${digest.slice("sha256:".length, 20)}-${start}`);
      await pipeline(createReadStream(blob, { start, end }), createWriteStream(path));
      chunks.push({ path, start, end });
    }
    split.push({ digest, chunks });
  }
  const plan = join(folder, "chunks.json");
  await Bun.write(plan, JSON.stringify(split));
  return plan;
}
