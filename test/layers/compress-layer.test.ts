import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { compressLayer } from "../../src/layers/compress/layer.ts";
import { BLOCK_BYTES, startCompressPool } from "../../src/layers/compress/pool.ts";
import { COMPRESSION_LEVELS, type CompressionForm, DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { readPieces } from "../../src/oci/read-pieces.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const ZSTD: CompressionForm = { kind: "zstd", level: COMPRESSION_LEVELS.zstd.default };
const BLOCK = BLOCK_BYTES.gzip;

const unpack = {
  gzip: (bytes: Uint8Array): Uint8Array => gunzipSync(bytes),
  zstd: (bytes: Uint8Array<ArrayBuffer>): Uint8Array => Bun.zstdDecompressSync(bytes),
};

const never = new AbortController().signal;

/** Half noise, half what compresses well: a level or a block size that changes shows in the result. */
function layerBytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = seededBytes(length, seed);
  for (let at = 0; at < length; at++) if (at % 128 < 64) bytes[at] = (bytes[at] ?? 0) % 7;
  return bytes;
}

async function* piecesOf(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.slice(at, at + pieceBytes);
}

type Options = {
  form?: CompressionForm;
  workers?: number;
  pieceBytes?: number;
  onProgress?: (bytes: number) => void;
};

async function compress(raw: Uint8Array, options: Options = {}) {
  const { form = DEFAULT_COMPRESSION, workers = 2, onProgress = () => {} } = options;
  await using folder = await temporaryFolder();
  using pool = startCompressPool(form, workers);
  const path = join(folder.path, "layer");
  const pieces = piecesOf(raw, options.pieceBytes ?? pool.blockBytes);
  const result = await compressLayer(pieces, path, pool, never, onProgress);
  return { ...result, bytes: await Bun.file(path).bytes() };
}

describe.each([DEFAULT_COMPRESSION, ZSTD])("compressLayer with %j", (form) => {
  const block = BLOCK_BYTES[form.kind];
  // The real one, where there is one.
  const hasTool = Bun.which(form.kind) !== null || process.env["CI"] !== undefined;

  test.each([0, 1, block - 1, block, block + 1, 3 * block + 12_345])(
    "writes what the tool unpacks to the same %d bytes",
    async (length) => {
      const raw = layerBytes(length, length);
      const { bytes, rawDigest, digest, sizeBytes } = await compress(raw, { form });
      expect(digestOf(unpack[form.kind](bytes))).toBe(digestOf(raw));
      if (hasTool) expect(Bun.spawnSync([form.kind, "-t"], { stdin: bytes }).exitCode).toBe(0);
      expect(rawDigest).toBe(digestOf(raw));
      expect(digest).toBe(digestOf(bytes));
      expect(sizeBytes).toBe(bytes.length);
    },
  );

  test("writes the same bytes with 1, 2 and 7 workers", async () => {
    const raw = layerBytes(17 * block + 99, 3);
    const results = await Promise.all([1, 2, 7].map((workers) => compress(raw, { form, workers })));
    expect(results[0]?.rawDigest).toBe(digestOf(raw));
    expect(new Set(results.map(({ digest }) => digest)).size).toBe(1);
  });

  test("writes the same bytes wherever the pieces end", async () => {
    const raw = layerBytes(2 * block + 99, 4);
    const sizes = [65_536, 999_983, block / 2, block, block + 1, raw.length];
    const results = await Promise.all(sizes.map((pieceBytes) => compress(raw, { form, pieceBytes })));
    expect(new Set(results.map(({ rawDigest }) => rawDigest))).toEqual(new Set([digestOf(raw)]));
    expect(new Set(results.map(({ digest }) => digest)).size).toBe(1);
  });

  test("counts its progress in the layer's bytes, block by block, up to the last", async () => {
    const seen: number[] = [];
    const length = 2 * block + 5;
    await compress(layerBytes(length, 5), { form, onProgress: (bytes) => seen.push(bytes) });
    expect(seen).toEqual([block, 2 * block, length]);
  });
});

describe("the compressed form of a layer", () => {
  const why =
    "Another digest for the same layer means that every layer which registries have is uploaded again. " +
    "Block size, level and library decide on it: a change is a decision, to be written down in docs/compression.md.";
  const known = [
    [DEFAULT_COMPRESSION, "sha256:16704670eac04b1fd58b01a6df41c7ebb0e2d229d10f8c522b823a8576d47a44"],
    [ZSTD, "sha256:5634fe20103eb66e4ce1129af0893026c2139620f5d08e8a3ab26f78eb656459"],
  ] as const;
  test.each(known)(`stays the same for good with %j. ${why}`, async (form, expected) => {
    // The second half is noise alone, which gzip only wraps.
    const raw = layerBytes(4 * BLOCK + 1, 42);
    raw.set(seededBytes(2 * BLOCK + 1, 43), 2 * BLOCK);
    const { digest, rawDigest } = await compress(raw, { form, workers: 3 });
    expect(String(rawDigest)).toBe("sha256:9cbcdd5d590ede9a3886ac621d1ea82bd4cb13ef7d2ca202d7ba3ab234a81940");
    expect(String(digest)).toBe(expected);
  });
});

describe("incompressible data", () => {
  test("grows by less than 0.05 %", async () => {
    const raw = seededBytes(3 * BLOCK, 7);
    const [fast, slow] = await Promise.all([
      compress(raw),
      compress(raw, { form: { kind: "gzip", level: 9 } }),
    ]);
    expect(fast.digest).toBe(slow.digest);
    expect(fast.sizeBytes).toBeLessThan(1.0005 * raw.length);
    expect(digestOf(unpack.gzip(fast.bytes))).toBe(digestOf(raw));
  });

  test("in a block does not keep the rest of that block from being compressed", async () => {
    const raw = seededBytes(BLOCK, 8);
    raw.fill(0, 0, BLOCK / 4);
    expect((await compress(raw)).sizeBytes).toBeLessThan(0.77 * raw.length);
  });
});

describe("a compression that fails", () => {
  test("does not overwrite a file that is there already", async () => {
    await using folder = await temporaryFolder();
    using pool = startCompressPool(DEFAULT_COMPRESSION, 1);
    const path = join(folder.path, "layer.gz");
    await Bun.write(path, "mine");
    const pieces = piecesOf(new Uint8Array(1), 1);
    const failure = await compressLayer(pieces, path, pool, never, () => {}).then(
      String,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: "EEXIST" });
    expect(await Bun.file(path).text()).toBe("mine");
  });

  test("ends with the reason of an interruption", async () => {
    await using folder = await temporaryFolder();
    using pool = startCompressPool(DEFAULT_COMPRESSION, 1);
    const controller = new AbortController();
    const reason = new Error("enough");
    const seen: number[] = [];
    const compressing = compressLayer(
      readPieces(new Blob([layerBytes(10 * BLOCK, 6)]), pool.blockBytes, controller.signal),
      join(folder.path, "layer.gz"),
      pool,
      controller.signal,
      (bytes) => {
        seen.push(bytes);
        controller.abort(reason);
      },
    );
    expect(await compressing.then(String, (error: unknown) => error)).toBe(reason);
    expect(seen).toEqual([BLOCK]);
  });

  test("ends with the error of a source that breaks off", async () => {
    await using folder = await temporaryFolder();
    using pool = startCompressPool(DEFAULT_COMPRESSION, 2);
    const reason = new Error("broken off");
    async function* breaksOff() {
      yield* piecesOf(layerBytes(3 * BLOCK, 9), 100_000);
      throw reason;
    }
    const path = join(folder.path, "layer.gz");
    const compressing = compressLayer(breaksOff(), path, pool, never, () => {});
    expect(await compressing.then(String, (error: unknown) => error)).toBe(reason);
  });
});

describe("a compression", () => {
  test("reads a piece of a file from its beginning to its end", async () => {
    await using folder = await temporaryFolder();
    const raw = layerBytes(3 * BLOCK, 4);
    await Bun.write(join(folder.path, "x.tar"), raw);
    const [start, end] = [512, 2 * BLOCK + 777];
    const content = Bun.file(join(folder.path, "x.tar")).slice(start, end);
    const pieces = await Array.fromAsync(readPieces(content, 100_000, never));
    expect(new Set(pieces.slice(0, -1).map(({ length }) => length))).toEqual(new Set([100_000]));
    expect(digestOf(Buffer.concat(pieces))).toBe(digestOf(raw.subarray(start, end)));
    for (const piece of pieces) expect(piece.buffer.byteLength).toBe(piece.length);
  });
});

describe("the pool", () => {
  /** Starts a pool of one worker, and keeps the workers that it makes. */
  function watchedPool() {
    const Original = globalThis.Worker;
    const workers: Worker[] = [];
    globalThis.Worker = class extends Original {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args);
        workers.push(this);
      }
    };
    const pool = startCompressPool({ kind: "gzip", level: 1 }, 1);
    const restore = () => {
      pool[Symbol.dispose]();
      globalThis.Worker = Original;
    };
    return { pool, workers, [Symbol.dispose]: restore };
  }

  test("fails the blocks of a worker that ends, and starts another for the next", async () => {
    using watched = watchedPool();
    const { pool, workers } = watched;
    const lost = [pool.compress(layerBytes(BLOCK, 7)), pool.compress(layerBytes(BLOCK, 8))];
    workers[0]?.terminate();
    for (const work of lost) expect((await rejection(work)).code).toBe("COMPRESSION_FAILED");
    const raw = layerBytes(1000, 9);
    expect(Buffer.from(gunzipSync(await pool.compress(raw.slice())))).toEqual(Buffer.from(raw));
    expect(workers).toHaveLength(2);
  });

  test("answers for a block with its own bytes, after another that could not be handed over", async () => {
    using watched = watchedPool();
    const { pool } = watched;
    const gone = new Uint8Array(10);
    gone.buffer.transfer(0);
    expect(() => pool.compress(gone)).toThrow();
    const raw = layerBytes(1000, 9);
    expect(Buffer.from(gunzipSync(await pool.compress(raw.slice())))).toEqual(Buffer.from(raw));
  });

  test.each([DEFAULT_COMPRESSION, ZSTD])("answers many questions, each with its own: %j", async (form) => {
    using pool = startCompressPool(form, 3);
    const blocks = Array.from({ length: 40 }, (_, i) => layerBytes(1 + i * 1000, i));
    const members = await Promise.all(blocks.map((block) => pool.compress(block.slice())));
    expect(members.map((member) => digestOf(unpack[form.kind](member)))).toEqual(blocks.map(digestOf));
  });

  test("keeps no process alive that has nothing else to do", async () => {
    const path = join(import.meta.dir, "../../src/layers/compress/pool.ts");
    const code = `const { startCompressPool } = await import(${JSON.stringify(path)});
      {
        using pool = startCompressPool({ kind: "gzip", level: 1 }, 2);
        await pool.compress(new Uint8Array(9));
        await pool.compress(new Uint8Array(9));
      }
      console.log("done");`;
    const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", timeout: 20_000 });
    expect([await child.stdout.text(), await child.exited]).toEqual(["done\n", 0]);
  }, 30_000);
});
