import { describe, expect, test } from "bun:test";
import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { findCachedDocument, storeDocuments } from "../../src/store/documents.ts";
import { openLayerCache } from "../../src/store/layers.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const bytes = new TextEncoder().encode('{"author":"Zoë"}');
const digest = digestOf(bytes);

async function filledCache() {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  await storeDocuments(cache, new Map([[digest, bytes]]));
  return {
    cache,
    path: join(cache.directory, digest.slice(7)),
    find: () => findCachedDocument(cache, digest),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("a document of an image", () => {
  test("is found by its digest, byte for byte", async () => {
    await using at = await filledCache();
    expect(await at.find()).toEqual(bytes);
    expect(await readdir(at.cache.directory)).toEqual([digest.slice(7)]);
    expect(await findCachedDocument(at.cache, digestOf(new Uint8Array()))).toBeUndefined();
  });

  test("counts as used when it is found, so that pruning takes older ones first", async () => {
    await using at = await filledCache();
    const longAgo = new Date("2020-01-01T00:00:00Z");
    await utimes(at.path, longAgo, longAgo);
    await at.find();
    expect((await stat(at.path)).mtime.getTime()).toBeGreaterThan(longAgo.getTime());
  });

  test.each<[string, (path: string) => Promise<unknown>]>([
    ["gone", (path) => rm(path)],
    ["cut short", (path) => Bun.write(path, bytes.subarray(1))],
    ["longer by a space", (path) => Bun.write(path, `${new TextDecoder().decode(bytes)} `)],
    ["a folder", (path) => rm(path).then(() => mkdir(path))],
  ])("counts as missing when it is %s", async (_, damage) => {
    await using at = await filledCache();
    await damage(at.path);
    expect(await at.find()).toBeUndefined();
  });

  test("is not looked for in a file that is larger than any document", async () => {
    await using at = await filledCache();
    const large = new Uint8Array(4 * 1024 * 1024 + 1);
    await storeDocuments(at.cache, new Map([[digestOf(large), large]]));
    expect(await findCachedDocument(at.cache, digestOf(large))).toBeUndefined();
  });

  test("is kept anew over what was damaged", async () => {
    await using at = await filledCache();
    await Bun.write(at.path, "{");
    await storeDocuments(at.cache, new Map([[digest, bytes]]));
    expect(await at.find()).toEqual(bytes);
  });

  test("fails to be stored if the folder is gone", async () => {
    const error = await rejection(
      storeDocuments({ directory: "/nowhere/at/all" }, new Map([[digest, bytes]])),
    );
    expect(error.code).toBe("FILE_FAILED");
    expect(error.hint).toContain("--cache-dir");
  });
});
