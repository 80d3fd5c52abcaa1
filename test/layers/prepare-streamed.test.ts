import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { startCompressPool } from "../../src/layers/compress/pool.ts";
import { prepareStreamedLayer } from "../../src/layers/prepare-streamed.ts";
import { DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { openLayerCache } from "../../src/store/layers.ts";
import { piecesOf } from "../support/pieces.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const RAW = seededBytes(2 * 1024 * 1024 + 321, 1);
const PIECES = [1, 3, 4, 512, 65_536, 1024 * 1024, Number.POSITIVE_INFINITY];

async function workshop() {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  const pool = startCompressPool(DEFAULT_COMPRESSION, 2);
  const controller = new AbortController();
  const options = {
    cache,
    pool,
    signal: controller.signal,
    onProgress: (_: number) => {},
  };
  return {
    controller,
    files: async () => (await readdir(cache.directory)).sort(),
    prepare: (path: string, bytes: AsyncIterable<Uint8Array<ArrayBuffer>>, isWanted = true) =>
      prepareStreamedLayer({ path, bytes }, () => isWanted, options),
    options,
    async [Symbol.asyncDispose]() {
      pool[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe("a raw layer", () => {
  test("is the same blob, whatever the pieces in which it comes", async () => {
    const digests = new Set<string>();
    for (const pieceBytes of PIECES) {
      await using shop = await workshop();
      const raw = pieceBytes < 512 ? RAW.subarray(0, 5000) : RAW;
      const made = await shop.prepare("x/layer.tar", piecesOf(raw, pieceBytes));
      if (made === undefined) throw new Error("It was wanted.");
      expect(String(made.diffId)).toBe(digestOf(raw));
      const { blob } = made;
      const bytes = await blob.content.bytes();
      expect(Buffer.from(gunzipSync(bytes)).equals(Buffer.from(raw))).toBe(true);
      expect(blob.descriptor).toMatchObject({ digest: digestOf(bytes), size: bytes.length });
      expect(await shop.files()).toEqual(
        [`${made.diffId?.slice(7)}-ptr`, blob.descriptor.digest.slice(7)].sort(),
      );
      digests.add(blob.descriptor.digest);
    }
    expect(digests.size).toBe(2);
  });

  test.each([0, 1, 3])("of %d bytes is a blob like any other", async (length) => {
    await using shop = await workshop();
    const made = await shop.prepare("x/layer.tar", piecesOf(RAW.subarray(0, length), 1));
    expect(made).toMatchObject({ origin: "compressed", diffId: digestOf(RAW.subarray(0, length)) as string });
  });

  test("that is not read leaves nothing in the cache", async () => {
    await using shop = await workshop();
    expect(await shop.prepare("x/layer.tar", piecesOf(RAW, 65_536), false)).toBeUndefined();
    expect(await shop.files()).toEqual([]);
  });

  test.each([0, 2, 100_000, 2_000_000])(
    "that breaks off after %d bytes leaves nothing in the cache",
    async (length) => {
      await using shop = await workshop();
      const failure = new Error("cut");
      async function* broken() {
        yield* piecesOf(RAW.subarray(0, length), 65_536);
        throw failure;
      }
      const making = shop.prepare("x/layer.tar", broken());
      expect(await making.then(String, (error: unknown) => error)).toBe(failure);
      expect(await shop.files()).toEqual([]);
    },
  );
});

describe.each([
  ["gzip", gzipSync],
  ["zstd", zstdCompressSync],
] as const)("a layer through %s", (name, pack) => {
  const packed = new Uint8Array(pack(RAW));
  const path = `blobs/sha256/${digestOf(packed).slice(7)}`;

  test.each(PIECES.slice(1))("stays as it is, in pieces of %d bytes", async (pieceBytes) => {
    await using shop = await workshop();
    const bytes = pieceBytes < 512 ? new Uint8Array(pack(RAW.subarray(0, 5000))) : packed;
    const made = await shop.prepare(`blobs/sha256/${digestOf(bytes).slice(7)}`, piecesOf(bytes, pieceBytes));
    if (made === undefined) throw new Error("It was wanted.");
    expect(Buffer.from(await made.blob.content.bytes()).equals(Buffer.from(bytes))).toBe(true);
    expect(made.blob.descriptor.mediaType).toEndWith(`tar+${name}`);
    expect(made.diffId).toBeUndefined();
    expect(await shop.files()).toEqual([digestOf(bytes).slice(7)]);
  });

  test("that is not what its name says is refused as damaged, and not kept", async () => {
    await using shop = await workshop();
    const error = await rejection(shop.prepare(path, piecesOf(packed.with(1_000_000, 0), 65_536)));
    expect([error.code, error.message]).toEqual(["CONTENT_MISMATCH", expect.stringContaining(path)]);
    expect(await shop.files()).toEqual([]);
  });

  test("whose name says nothing is unpacked to see what it is", async () => {
    await using shop = await workshop();
    const made = await shop.prepare("x/layer.tar", piecesOf(packed, 65_536));
    expect(made).toMatchObject({ origin: "source", diffId: digestOf(RAW) as string });
  });

  test("whose name says nothing, and that is cut short, is refused", async () => {
    await using shop = await workshop();
    const making = shop.prepare("x/layer.tar", piecesOf(packed.subarray(0, 5000), 512));
    expect((await rejection(making)).message).toContain("x/layer.tar");
  });
});
