import { describe, expect, test } from "bun:test";
import { readdir, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { startCompressPool } from "../../src/layers/compress/pool.ts";
import { isIntact, prepareLayer, type ReadyBlob } from "../../src/layers/prepare.ts";
import { type CompressionForm, DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { type Digest, digestOf, hexOf, parseDiffId } from "../../src/oci/digest.ts";
import type { Layer } from "../../src/oci/image.ts";
import { openLayerCache } from "../../src/store/layers.ts";
import { openLocks } from "../../src/store/locks.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { bytesOf, inParts } from "../support/stored-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const MIB = 1024 * 1024;
const raw = seededBytes(2 * MIB + 321, 1);
const diffId = parseDiffId(digestOf(raw), "test");
const hexOfRaw = hexOf(diffId);
const other = digestOf(seededBytes(10, 9));

function layerOf(content: Blob | Uint8Array<ArrayBuffer>, more: Partial<Layer> = {}): Layer {
  return {
    diffId,
    compression: "none",
    claimedDigest: undefined,
    content: content instanceof Blob ? content : new Blob([content]),
    name: "abc/layer.tar",
    ...more,
  };
}

/** A layer that comes from the cache or not at all. */
function untouchable(): Layer {
  const trap = () => {
    throw new Error("the layer was read");
  };
  const content = new Proxy(new Blob([raw]), {
    get: (blob, key) => (key === "size" ? blob.size : trap()),
  });
  return layerOf(content);
}

/** Bun.gunzipSync stops after the first member. */
function gunzip(bytes: Uint8Array): Uint8Array {
  return gunzipSync(bytes);
}

async function workshop(form: CompressionForm = DEFAULT_COMPRESSION) {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  const pool = startCompressPool(form, 2);
  const controller = new AbortController();
  const progress: number[] = [];
  const warnings: string[] = [];
  const waits: string[] = [];
  const options = {
    cache,
    pool,
    locks: openLocks(cache.directory, controller.signal, (reason) => warnings.push(reason)),
    signal: controller.signal,
    onProgress: (done: number) => void progress.push(done),
    onWaiting: () => void waits.push("waiting"),
  };
  return {
    options,
    controller,
    progress,
    warnings,
    waits,
    folder: folder.path,
    path: (name: string) => join(cache.directory, name),
    files: async () => (await readdir(cache.directory)).sort(),
    prepare: (layer: Layer) => prepareLayer(layer, options),
    /** Verifies a cached blob, and makes it again where it is damaged. */
    repair: (layer: Layer) => prepareLayer(layer, { ...options, repairs: true }),
    /** The same, and what is else checked while it is sent. */
    prepareAndVerify: (layer: Layer) => verified(prepareLayer(layer, options)),
    async [Symbol.asyncDispose]() {
      pool[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function verified(preparing: Promise<ReadyBlob>): Promise<ReadyBlob> {
  const prepared = await preparing;
  await prepared.guard?.verify();
  return prepared;
}

describe("a raw layer in another form than gzip", () => {
  test("has a pointer of its own as zstd, and does not take gzip's", async () => {
    await using shop = await workshop({ kind: "zstd", level: 3 });
    await Bun.write(shop.path(`${hexOfRaw}-ptr`), hexOf(other));
    await Bun.write(shop.path(hexOf(other)), seededBytes(10, 9));
    const first = await shop.prepare(layerOf(raw));
    const { digest, mediaType } = first.blob.descriptor;
    expect([first.origin, mediaType]).toEqual(["compressed", "application/vnd.oci.image.layer.v1.tar+zstd"]);
    expect(digestOf(Bun.zstdDecompressSync(await bytesOf(first.blob.content)))).toBe(digestOf(raw));
    const own = [hexOf(digest), `${hexOfRaw}-zstd-3-ptr`];
    expect(await shop.files()).toEqual([...own, `${hexOfRaw}-ptr`, hexOf(other)].sort());
    const second = await shop.prepare(untouchable());
    expect([second.origin, second.blob.descriptor]).toEqual(["cache", first.blob.descriptor]);
  });

  test("goes up as it is without compression, verified while it is sent, and leaves the cache empty", async () => {
    await using shop = await workshop();
    const options = { ...shop.options, pool: undefined };
    const layer = layerOf(raw, { claimedDigest: other });
    for (const repairs of [false, true]) {
      const { blob, origin } = await verified(prepareLayer(layer, { ...options, repairs }));
      expect(origin).toBe("source");
      const mediaType = "application/vnd.oci.image.layer.v1.tar";
      expect(blob.descriptor).toEqual({ mediaType, digest: digestOf(raw), size: raw.length });
      expect(await bytesOf(blob.content)).toEqual(raw);
    }
    const error = await rejection(verified(prepareLayer(layerOf(raw.slice(1)), options)));
    expect([error.code, error.message]).toEqual([
      "CONTENT_MISMATCH",
      expect.stringContaining(`"abc/layer.tar"`),
    ]);
    expect(await shop.files()).toEqual([]);
  });
});

describe("a raw layer", () => {
  test("is compressed once, and comes from the cache from then on", async () => {
    await using shop = await workshop();
    const first = await shop.prepare(layerOf(raw));
    const { digest, size, mediaType } = first.blob.descriptor;
    expect(first.origin).toBe("compressed");
    expect(mediaType).toBe("application/vnd.oci.image.layer.v1.tar+gzip");
    expect(await shop.files()).toEqual([hexOf(digest), `${hexOfRaw}-ptr`].sort());
    expect(await Bun.file(shop.path(`${hexOfRaw}-ptr`)).text()).toBe(hexOf(digest));
    const bytes = await bytesOf(first.blob.content);
    expect([digestOf(bytes), bytes.length]).toEqual([digest, size]);
    expect(digestOf(gunzip(bytes))).toBe(digestOf(raw));
    expect([shop.progress[0], shop.progress.at(-1)]).toEqual([0, raw.length]);

    const second = await shop.prepare(untouchable());
    expect(second.origin).toBe("cache");
    expect(second.blob.descriptor).toEqual(first.blob.descriptor);
    expect(digestOf(await bytesOf(second.blob.content))).toBe(digest);
    // What was just made needs no guard. What an earlier push made is verified while it is sent.
    expect(first.guard).toBeUndefined();
    expect(await second.guard?.verify()).toBeUndefined();
    expect(second.guard).toBeDefined();
  });

  test("that is not what its diffID says leaves nothing behind, and is named", async () => {
    await using shop = await workshop();
    const wrong = raw.slice();
    wrong[MIB] = (wrong[MIB] ?? 0) ^ 1;
    for (const content of [wrong, raw.slice(1), new Uint8Array()]) {
      const error = await rejection(shop.prepare(layerOf(content)));
      expect([error.code, error.message]).toEqual([
        "CONTENT_MISMATCH",
        expect.stringContaining(`"abc/layer.tar"`),
      ]);
      expect(error.hint).toBeString();
      expect(await shop.files()).toEqual([]);
    }
  });

  test("of an OCI layout, whose name is its digest, has to be what its diffID says as well", async () => {
    await using shop = await workshop();
    const layer = layerOf(seededBytes(10, 9), { claimedDigest: other });
    for (const pool of [shop.options.pool, undefined]) {
      const error = await rejection(verified(prepareLayer(layer, { ...shop.options, pool })));
      expect(error.code).toBe("CONTENT_MISMATCH");
    }
  });

  test("whose file is cut short or removed meanwhile leaves nothing behind", async () => {
    await using shop = await workshop();
    const path = join(shop.folder, "x.tar");
    await Bun.write(path, raw);
    const content = Bun.file(path).slice(0, raw.length);
    await truncate(path, MIB);
    expect((await rejection(shop.prepare(layerOf(content)))).code).toBe("CONTENT_MISMATCH");
    await rm(path);
    expect((await rejection(shop.prepare(layerOf(content)))).code).toBe("FILE_FAILED");
    expect(await shop.files()).toEqual([]);
  });

  test("that is empty is compressed and cached like any other", async () => {
    await using shop = await workshop();
    const empty = layerOf(new Uint8Array(), { diffId: parseDiffId(digestOf(new Uint8Array()), "test") });
    const { blob } = await shop.prepare(empty);
    expect(gunzip(await bytesOf(blob.content))).toHaveLength(0);
    expect((await shop.prepare(empty)).origin).toBe("cache");
  });

  test("ends with the reason of an interruption in the middle, and leaves nothing behind", async () => {
    await using shop = await workshop();
    const reason = new Error("enough");
    const onProgress = () => shop.controller.abort(reason);
    const preparing = prepareLayer(layerOf(raw), { ...shop.options, onProgress });
    expect(await preparing.then(String, (error: unknown) => error)).toBe(reason);
    expect(await shop.files()).toEqual([]);
  });

  test("that is prepared twice at the same time is compressed once", async () => {
    await using shop = await workshop();
    const both = await Promise.all([shop.prepare(layerOf(raw)), shop.prepare(layerOf(raw))]);
    expect(both[0].blob.descriptor).toEqual(both[1].blob.descriptor);
    expect(both.map(({ origin }) => origin).sort()).toEqual(["cache", "compressed"]);
    expect([shop.waits, shop.warnings]).toEqual([["waiting"], []]);
    for (const { blob } of both) expect(digestOf(gunzip(await bytesOf(blob.content)))).toBe(digestOf(raw));
    expect(await shop.files()).toHaveLength(2);
  });

  test("fails with the names of folder and layer where the cache has vanished", async () => {
    await using shop = await workshop();
    await rm(shop.options.cache.directory, { recursive: true });
    const error = await rejection(shop.prepare(layerOf(raw)));
    expect(error.code).toBe("FILE_FAILED");
    expect(error.message).toContain(shop.options.cache.directory);
    expect(error.message).toContain(`"abc/layer.tar"`);
  });
});

describe("a cache that other tools or accidents left", () => {
  test("has the pointer and gzip -9 blob of an older tool, which are used as they are", async () => {
    await using shop = await workshop();
    const packed = gzipSync(raw, { level: 9 });
    const digest = digestOf(packed);
    await Bun.write(shop.path(hexOf(digest)), Uint8Array.from(packed));
    await Bun.write(shop.path(`${hexOfRaw}-ptr`), hexOf(digest));
    const prepared = await shop.prepareAndVerify(untouchable());
    expect([prepared.origin, prepared.blob.descriptor.digest]).toEqual(["cache", digest]);
    expect(await isIntact(inParts(prepared.blob), shop.options.signal)).toBe(true);
  });

  test.each(["", "garbage", `../${"0".repeat(64)}`, "0".repeat(64)])(
    "has a pointer that holds %j: the layer is compressed again",
    async (text) => {
      await using shop = await workshop();
      await Bun.write(shop.path(`${hexOfRaw}-ptr`), text);
      const prepared = await shop.prepare(layerOf(raw));
      expect(prepared.origin).toBe("compressed");
      expect(await Bun.file(shop.path(`${hexOfRaw}-ptr`)).text()).toBe(
        hexOf(prepared.blob.descriptor.digest),
      );
    },
  );

  const damages: [what: string, damage: (path: string) => Promise<unknown>][] = [
    [
      "a flipped byte",
      async (path) => {
        const bytes = await Bun.file(path).bytes();
        bytes[1000] = (bytes[1000] ?? 0) ^ 1;
        await Bun.write(path, bytes);
      },
    ],
    ["cut short", (path) => truncate(path, 1000)],
    ["empty", (path) => truncate(path, 0)],
    ["a byte too long", async (path) => Bun.write(path, new Blob([await Bun.file(path).bytes(), "x"]))],
  ];
  test.each(damages)(
    "has a blob with damage: the guard refuses it, and a repair makes it again (%s)",
    async (_, damage) => {
      await using shop = await workshop();
      const { blob } = await shop.prepare(layerOf(raw));
      await damage(shop.path(hexOf(blob.descriptor.digest)));
      const found = await shop.prepare(layerOf(raw));
      expect(found.origin).toBe("cache");
      expect(await isIntact(inParts(found.blob), shop.options.signal)).toBe(false);
      expect((await rejection(verified(Promise.resolve(found)))).code).toBe("CONTENT_MISMATCH");
      const repaired = await shop.repair(layerOf(raw));
      expect(repaired.origin).toBe("compressed");
      expect(repaired.blob.descriptor).toEqual(blob.descriptor);
      expect(digestOf(await bytesOf(repaired.blob.content))).toBe(blob.descriptor.digest);
      expect(await shop.files()).toEqual([hexOf(blob.descriptor.digest), `${hexOfRaw}-ptr`].sort());
    },
  );

  test.each<[string, (path: string) => Promise<void>, string]>([
    ["damaged", (path) => truncate(path, 1000), "CONTENT_MISMATCH"],
    ["gone", (path) => rm(path), "FILE_FAILED"],
  ])("has a blob that is %s after it was found: a repair makes it again", async (_, damage, code) => {
    await using shop = await workshop();
    const { blob } = await shop.prepare(layerOf(raw));
    const found = await shop.prepare(layerOf(raw));
    await damage(shop.path(hexOf(blob.descriptor.digest)));
    expect(await isIntact(inParts(found.blob), shop.options.signal)).toBe(false);
    expect((await rejection(verified(Promise.resolve(found)))).code as string).toBe(code);
    const repaired = await shop.repair(layerOf(raw));
    expect(repaired.blob.descriptor).toEqual(blob.descriptor);
    expect(digestOf(await bytesOf(repaired.blob.content))).toBe(blob.descriptor.digest);
  });

  test("has a damaged blob of a layer that is damaged, too: it is not left for the next push", async () => {
    await using shop = await workshop();
    const { blob } = await shop.prepare(layerOf(raw));
    await truncate(shop.path(hexOf(blob.descriptor.digest)), 1000);
    const wrong = layerOf(raw.slice(1));
    expect((await shop.prepare(wrong)).origin).toBe("cache");
    expect((await rejection(shop.repair(wrong))).code).toBe("CONTENT_MISMATCH");
    expect((await shop.files()).filter((name) => !name.endsWith("-ptr"))).toEqual([]);
  });

  test("has an intact blob, which a repair takes without reading the layer", async () => {
    await using shop = await workshop();
    const made = await shop.prepare(layerOf(raw));
    const found = await shop.prepare(untouchable());
    for (const { blob } of [made, found])
      expect(await isIntact(inParts(blob), shop.options.signal)).toBe(true);
    // As where another push was faster to repair it.
    const repaired = await shop.repair(untouchable());
    expect([repaired.origin, repaired.blob.descriptor]).toEqual(["cache", found.blob.descriptor]);
    expect(shop.progress.at(-1)).toBe(raw.length);
    expect(shop.progress.filter((done) => done === 0)).toHaveLength(1);
  });
});

describe.each([
  ["gzip", Bun.gzipSync(raw)],
  ["zstd", Bun.zstdCompressSync(raw)],
] as const)("a layer that is compressed already, %s,", (compression, bytes) => {
  const packed = Uint8Array.from(bytes);
  const packedLayer = (claimedDigest: Digest | undefined, content = packed) =>
    layerOf(content, { compression, claimedDigest });

  test.each([
    ["with a claimed digest", digestOf(packed)],
    ["without one", undefined],
  ])("goes up unchanged, and leaves nothing in the cache: %s", async (_, claimed) => {
    await using shop = await workshop();
    const { origin, blob } = await shop.prepareAndVerify(packedLayer(claimed));
    expect(origin).toBe("source");
    expect(blob.descriptor).toEqual({
      mediaType: `application/vnd.oci.image.layer.v1.tar+${compression}`,
      digest: digestOf(packed),
      size: packed.length,
    });
    expect(digestOf(await bytesOf(blob.content))).toBe(digestOf(packed));
    expect(await shop.files()).toEqual([]);
    // One with a digest is read while it is sent, and not before.
    expect(shop.progress.at(-1)).toBe(claimed === undefined ? packed.length : undefined);
    expect(await isIntact(inParts(blob), shop.options.signal)).toBe(true);
  });

  test("is refused where the claimed digest is another, and named", async () => {
    await using shop = await workshop();
    const error = await rejection(shop.prepareAndVerify(packedLayer(other)));
    expect([error.code, error.message]).toEqual([
      "CONTENT_MISMATCH",
      expect.stringContaining(`"abc/layer.tar"`),
    ]);
  });

  test("is unpacked to be checked where no digest is claimed, in several members too", async () => {
    await using shop = await workshop();
    const pack = compression === "gzip" ? Bun.gzipSync : Bun.zstdCompressSync;
    const members = Uint8Array.from(Buffer.concat([pack(raw.slice(0, MIB)), pack(raw.slice(MIB))]));
    const { blob } = await shop.prepareAndVerify(packedLayer(undefined, members));
    expect(blob.descriptor.digest).toBe(digestOf(members));

    const less = Uint8Array.from(pack(raw.slice(0, MIB)));
    const error = await rejection(shop.prepareAndVerify(packedLayer(undefined, less)));
    expect([error.code, error.message]).toEqual([
      "CONTENT_MISMATCH",
      expect.stringContaining(`"abc/layer.tar"`),
    ]);
  });

  test("is refused where it is damaged", async () => {
    await using shop = await workshop();
    const flipped = packed.slice();
    flipped[MIB] = (flipped[MIB] ?? 0) ^ 0xff;
    for (const content of [flipped, packed.slice(0, packed.length - 9), packed.slice(0, 6)]) {
      for (const claimed of [undefined, digestOf(packed)]) {
        const error = await rejection(shop.prepareAndVerify(packedLayer(claimed, content)));
        expect([error.code, error.message]).toEqual([
          "CONTENT_MISMATCH",
          expect.stringContaining(`"abc/layer.tar"`),
        ]);
      }
    }
  });

  test("whose file is gone is a failure of the file", async () => {
    await using shop = await workshop();
    const path = join(shop.folder, "x");
    await Bun.write(path, packed);
    const content = Bun.file(path).slice(0, packed.length);
    await rm(path);
    const layer = layerOf(content, { compression, claimedDigest: digestOf(packed) });
    expect((await rejection(shop.prepareAndVerify(layer))).code).toBe("FILE_FAILED");
  });
});
