import { describe, expect, test } from "bun:test";
import { readdir, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf, hexOf, parseDiffId } from "../../src/oci/digest.ts";
import { readCache } from "../../src/store/contents.ts";
import { dropCachedLayer, findCachedLayer, openLayerCache, storeLayer } from "../../src/store/layers.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const diffId = parseDiffId(`sha256:${"d".repeat(64)}`, "test");
const form = DEFAULT_COMPRESSION;
const pointerName = `${"d".repeat(64)}-ptr`;
const bytes = new TextEncoder().encode("a compressed layer");
const digest = digestOf(bytes);

async function cacheFolder() {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  return {
    cache,
    path: (name: string) => join(cache.directory, name),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("the cache", () => {
  test("stores a blob under its digest, and a pointer that holds the bare hex of it", async () => {
    await using place = await cacheFolder();
    await Bun.write(place.path("x.tmp"), bytes);
    const stored = await storeLayer(place.cache, diffId, form, {
      path: place.path("x.tmp"),
      digest,
      sizeBytes: bytes.length,
    });
    expect((await readdir(place.cache.directory)).sort()).toEqual([hexOf(digest), pointerName].sort());
    expect(await Bun.file(place.path(pointerName)).text()).toBe(hexOf(digest));
    expect(await Bun.file(place.path(hexOf(digest))).bytes()).toEqual(bytes);

    const found = await findCachedLayer(place.cache, diffId, form);
    for (const blob of [stored, found]) {
      expect(blob?.descriptor).toEqual({
        mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
        digest,
        size: bytes.length,
      });
      expect(await blob?.content.bytes()).toEqual(bytes);
    }
  });

  test("has pointers of their own for other forms of a layer, by kind and level", async () => {
    await using place = await cacheFolder();
    const forms = [
      { kind: "gzip", level: 6, name: `${"d".repeat(64)}-gzip-6-ptr`, mediaType: MEDIA_TYPE.layer.gzip },
      { kind: "zstd", level: 2, name: `${"d".repeat(64)}-zstd-2-ptr`, mediaType: MEDIA_TYPE.layer.zstd },
      { kind: "zstd", level: 19, name: `${"d".repeat(64)}-zstd-19-ptr`, mediaType: MEDIA_TYPE.layer.zstd },
    ] as const;
    for (const { name, mediaType, ...form } of forms) {
      expect(await findCachedLayer(place.cache, diffId, form)).toBeUndefined();
      await Bun.write(place.path("x.tmp"), bytes);
      const file = { path: place.path("x.tmp"), digest, sizeBytes: bytes.length };
      await storeLayer(place.cache, diffId, form, file);
      expect(await Bun.file(place.path(name)).text()).toBe(hexOf(digest));
      expect((await findCachedLayer(place.cache, diffId, form))?.descriptor.mediaType).toBe(mediaType);
    }
    expect(await findCachedLayer(place.cache, diffId, DEFAULT_COMPRESSION)).toBeUndefined();
    const { blobs } = await readCache(place.cache.directory);
    expect(blobs[0]?.pointers.map(({ name }) => name).sort()).toEqual(forms.map(({ name }) => name).sort());
  });

  test("counts a blob that is found as used now", async () => {
    await using place = await cacheFolder();
    await Bun.write(place.path("x.tmp"), bytes);
    const sizeBytes = bytes.length;
    await storeLayer(place.cache, diffId, form, { path: place.path("x.tmp"), digest, sizeBytes });
    await utimes(place.path(hexOf(digest)), new Date(0), new Date(0));
    await findCachedLayer(place.cache, diffId, form);
    expect((await stat(place.path(hexOf(digest)))).mtimeMs).toBeGreaterThan(0);
  });

  test("stores a layer again over what is there", async () => {
    await using place = await cacheFolder();
    for (const content of ["damaged", bytes]) {
      await Bun.write(place.path("x.tmp"), content);
      await storeLayer(place.cache, diffId, form, {
        path: place.path("x.tmp"),
        digest,
        sizeBytes: bytes.length,
      });
    }
    expect(await (await findCachedLayer(place.cache, diffId, form))?.content.bytes()).toEqual(bytes);
  });

  test("finds nothing where it is empty, nor for another layer, nor once it was dropped", async () => {
    await using place = await cacheFolder();
    expect(await findCachedLayer(place.cache, diffId, form)).toBeUndefined();
    await Bun.write(place.path("x.tmp"), bytes);
    const blob = await storeLayer(place.cache, diffId, form, {
      path: place.path("x.tmp"),
      digest,
      sizeBytes: bytes.length,
    });
    expect(await findCachedLayer(place.cache, parseDiffId(digest, "test"), form)).toBeUndefined();
    await dropCachedLayer(place.cache, blob);
    await dropCachedLayer(place.cache, blob);
    expect(await findCachedLayer(place.cache, diffId, form)).toBeUndefined();
  });

  test("follows a pointer with a line end, as a hand or echo writes it", async () => {
    await using place = await cacheFolder();
    await Bun.write(place.path(hexOf(digest)), bytes);
    await Bun.write(place.path(pointerName), `${hexOf(digest)}\n`);
    expect((await findCachedLayer(place.cache, diffId, form))?.descriptor.digest).toBe(digest);
  });

  const hex = hexOf(digest);
  const pointers = [
    "",
    "\n",
    "garbage",
    hex.slice(1),
    `${hex}0`,
    hex.toUpperCase(),
    `sha256:${hex}`,
    `../${hex}`,
    `../cache/${hex}`,
    `./${hex}`,
    `/${hex}`,
    `${hex}/../${hex}`,
    `${hex}\n${hex}`,
    `${hex}\0`,
    `${"z".repeat(64)}`,
    "../../../../etc/passwd",
    "x".repeat(100_000),
    "0".repeat(64),
  ];
  test.each(pointers.map((pointer, i) => [i, pointer.slice(0, 80), pointer] as const))(
    "ignores the pointer %d, %j",
    async (_, __, pointer) => {
      await using place = await cacheFolder();
      await Bun.write(place.path(hex), bytes);
      await Bun.write(join(place.cache.directory, "..", hex), bytes);
      await Bun.write(place.path(pointerName), pointer);
      expect(await findCachedLayer(place.cache, diffId, form)).toBeUndefined();
    },
  );
});

describe("the cache's folder", () => {
  test("is made, with those above it, and left empty", async () => {
    await using folder = await temporaryFolder();
    const directory = join(folder.path, "a/b/.cache");
    await openLayerCache(directory);
    expect((await stat(directory)).isDirectory()).toBe(true);
    expect(await readdir(directory)).toEqual([]);
    await openLayerCache(directory);
  });

  test("that cannot be made is an error that says which, and what to do", async () => {
    await using folder = await temporaryFolder();
    await Bun.write(join(folder.path, "file"), "");
    const impossible = ["file", "file/cache", "file/a/b"].map((name) => join(folder.path, name));
    for (const directory of [...impossible, `${folder.path}/${"n".repeat(300)}`]) {
      const error = await rejection(openLayerCache(directory));
      expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining(directory)]);
    }
    for (const directory of impossible) {
      expect((await rejection(openLayerCache(directory))).hint).toContain("--cache-dir");
    }
  });

  test("that nobody may write to is refused at once, and not after a minute of compressing", async () => {
    const readOnly = ["/proc/self", "/sys/kernel"];
    for (const directory of readOnly) {
      expect((await rejection(openLayerCache(directory))).code).toBe("FILE_FAILED");
    }
  });
});
