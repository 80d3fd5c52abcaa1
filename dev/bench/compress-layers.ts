/**
 * `bun compress-layers.ts ARCHIVE FOLDER` compresses the layers of an archive as a push does, on all cores, and does
 * nothing else: no push can be faster.
 */
import { join } from "node:path";
import { compressLayer } from "../../src/layers/compress/layer.ts";
import { startCompressPool } from "../../src/layers/compress/pool.ts";
import { DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { readPieces } from "../../src/oci/read-pieces.ts";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { readDockerArchive } from "../../src/source/files/docker-archive.ts";

const [archive = "", folder = ""] = process.argv.slice(2);
const [saved] = (await readDockerArchive(await openArchiveFiles(archive, archive))) ?? [];
if (saved === undefined) throw new Error(`"${archive}" has no image.`);
const { layers } = await saved.read();
using pool = startCompressPool(DEFAULT_COMPRESSION);
const never = new AbortController().signal;
for (const [i, { content }] of layers.entries()) {
  const pieces = readPieces(content as Blob, pool.blockBytes, never);
  await compressLayer(pieces, join(folder, `${i}.gz`), pool, never, () => {});
}
