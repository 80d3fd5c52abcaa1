import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { compressLayer, GZIP_BLOCK_BYTES, GZIP_LEVEL } from "../../src/layers/compress-layer.ts";
import { startGzipPool } from "../../src/layers/gzip-pool.ts";
import { readPieces } from "../../src/layers/hash-blob.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const HAS_GZIP = Bun.which("gzip") !== null || process.env["CI"] !== undefined;

const never = new AbortController().signal;

/** Half noise, half what compresses well: a level or a block size that changes shows in the result. */
function layerBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = seededBytes(length, seed);
  for (let at = 0; at < length; at++) if (at % 128 < 64) bytes[at] = (bytes[at] ?? 0) % 7;
  return bytes;
}

async function compress(content: Blob, workers: number, onProgress: (bytes: number) => void = () => {}) {
  await using folder = await temporaryFolder();
  using pool = startGzipPool(GZIP_LEVEL, workers);
  const path = join(folder.path, "layer.gz");
  const result = await compressLayer(readPieces(content, never), path, pool, never, onProgress);
  return { ...result, bytes: await Bun.file(path).bytes() };
}

describe("what it writes", () => {
  const lengths = [
    0,
    1,
    GZIP_BLOCK_BYTES - 1,
    GZIP_BLOCK_BYTES,
    GZIP_BLOCK_BYTES + 1,
    5 * GZIP_BLOCK_BYTES + 12_345,
  ];
  test.each(lengths)("%d bytes: gzip takes it and gives them back", async (length) => {
    const raw = layerBytes(length, length);
    const { bytes, rawDigest, digest, sizeBytes } = await compress(new Blob([raw]), 2);
    expect(gunzipSync(bytes).equals(raw)).toBe(true);
    // The real one, where there is one.
    if (HAS_GZIP) expect(Bun.spawnSync(["gzip", "-t"], { stdin: bytes }).exitCode).toBe(0);
    expect(rawDigest).toBe(digestOf(raw));
    expect(digest).toBe(digestOf(bytes));
    expect(sizeBytes).toBe(bytes.length);
  });

  test("the same bytes with 1, 2 and 7 workers", async () => {
    const raw = layerBytes(20 * GZIP_BLOCK_BYTES + 99, 3);
    const results = await Promise.all([1, 2, 7].map((workers) => compress(new Blob([raw]), workers)));
    expect(results[0]?.rawDigest).toBe(digestOf(raw));
    expect(new Set(results.map(({ digest }) => digest)).size).toBe(1);
  });

  const why =
    "Another digest for the same layer means that every layer which registries have is uploaded again. " +
    "Block size, level and library decide on it: a change is a decision, to be written down in docs/decisions.md.";
  test(`known bytes for a known layer. ${why}`, async () => {
    const { digest, rawDigest } = await compress(new Blob([layerBytes(3 * GZIP_BLOCK_BYTES + 1, 42)]), 3);
    expect(String(rawDigest)).toBe("sha256:a8a3996c0a4e3738180f4ab0b3cea442bd4f1435fdb1430d0695e7208a86b9cf");
    expect(String(digest)).toBe("sha256:890e13dc762dadb4b1a883af4dbacd2ad63161cc74cd54d0b113403ddc49b229");
  });

  test("a piece of a file is compressed as a piece", async () => {
    await using folder = await temporaryFolder();
    const raw = layerBytes(3 * GZIP_BLOCK_BYTES, 4);
    await Bun.write(join(folder.path, "x.tar"), raw);
    const [start, end] = [512, 2 * GZIP_BLOCK_BYTES + 777];
    const { rawDigest } = await compress(Bun.file(join(folder.path, "x.tar")).slice(start, end), 2);
    expect(rawDigest).toBe(digestOf(raw.subarray(start, end)));
  });

  test("progress counts the layer's bytes, block by block, up to the last", async () => {
    const seen: number[] = [];
    const length = 2 * GZIP_BLOCK_BYTES + 5;
    await compress(new Blob([layerBytes(length, 5)]), 2, (bytes) => seen.push(bytes));
    expect(seen).toEqual([GZIP_BLOCK_BYTES, 2 * GZIP_BLOCK_BYTES, length]);
  });
});

describe("failures", () => {
  test("a file that is there already is not overwritten", async () => {
    await using folder = await temporaryFolder();
    using pool = startGzipPool(GZIP_LEVEL, 1);
    const path = join(folder.path, "layer.gz");
    await Bun.write(path, "mine");
    const failure = await compressLayer(readPieces(new Blob(["x"]), never), path, pool, never, () => {}).then(
      String,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "EEXIST" });
    expect(await Bun.file(path).text()).toBe("mine");
  });

  test("an interruption ends it with its reason", async () => {
    await using folder = await temporaryFolder();
    using pool = startGzipPool(GZIP_LEVEL, 1);
    const controller = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const compressing = compressLayer(
      readPieces(new Blob([layerBytes(10 * GZIP_BLOCK_BYTES, 6)]), never),
      join(folder.path, "layer.gz"),
      pool,
      controller.signal,
      (bytes) => {
        seen.push(bytes);
        controller.abort(reason);
      },
    );
    expect(await compressing.then(String, (error: unknown) => error)).toBe(reason);
    expect(seen).toEqual([GZIP_BLOCK_BYTES]);
  });
});

describe("the pool", () => {
  test("answers many questions, each with its own member", async () => {
    using pool = startGzipPool(GZIP_LEVEL, 3);
    const blocks = Array.from({ length: 40 }, (_, i) => layerBytes(1 + i * 1000, i));
    const members = await Promise.all(blocks.map((block) => pool.compress(block.slice())));
    expect(members.map((member) => digestOf(Bun.gunzipSync(member)))).toEqual(blocks.map(digestOf));
  });

  test("keeps no process alive that has nothing else to do", async () => {
    const path = join(import.meta.dir, "../../src/layers/gzip-pool.ts");
    const code = `const { startGzipPool } = await import(${JSON.stringify(path)});
      { using pool = startGzipPool(5, 2); await pool.compress(new Uint8Array(9)); await pool.compress(new Uint8Array(9)); }
      console.log("done");`;
    const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", timeout: 20_000 });
    expect([await child.stdout.text(), await child.exited]).toEqual(["done\n", 0]);
  }, 30_000);
});
