/**
 * `bun compress-layers.ts ARCHIVE FOLDER` compresses the layers of an archive as a push does, on all cores, and does
 * nothing else: no push can be faster.
 */
import { join } from "node:path";
import { compressLayer, GZIP_LEVEL } from "../../src/layers/compress-layer.ts";
import { startGzipPool } from "../../src/layers/gzip-pool.ts";
import { openArchiveFiles } from "../../src/source/archive-files.ts";
import { readDockerArchive } from "../../src/source/docker-archive.ts";

const [archive = "", folder = ""] = process.argv.slice(2);
const [saved] = (await readDockerArchive(await openArchiveFiles(archive, archive))) ?? [];
if (saved === undefined) throw new Error(`"${archive}" has no image.`);
const { layers } = await saved.load();
using pool = startGzipPool(GZIP_LEVEL);
for (const [i, { content }] of layers.entries()) {
  await compressLayer(content, join(folder, `${i}.gz`), pool, new AbortController().signal, () => {});
}
