import { describe, expect, test } from "bun:test";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { findCachedConfig, storeConfig } from "../../src/layers/config-cache.ts";
import { openLayerCache } from "../../src/layers/layer-cache.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { parseImageConfig } from "../../src/oci/image.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const IMAGE_ID = "5".repeat(64);

function configOf(seed: number, space = "") {
  const document = { author: "Zoë", rootfs: { diff_ids: [digestOf(seededBytes(9, seed))] } };
  return parseImageConfig(new TextEncoder().encode(JSON.stringify(document) + space), "a test");
}

const config = configOf(1);
const name = config.blob.descriptor.digest.slice(7);

async function filledCache() {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  await storeConfig(cache, IMAGE_ID, config.blob);
  const path = (file: string) => join(cache.directory, file);
  return {
    cache,
    path,
    pointer: path(`${IMAGE_ID}-image`),
    blob: path(name),
    find: () => findCachedConfig(cache, IMAGE_ID, config.diffIds),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("the config of an image", () => {
  test("is found by the image's ID, byte for byte", async () => {
    await using at = await filledCache();
    const found = await at.find();
    expect(await found?.blob.content.bytes()).toEqual(await config.blob.content.bytes());
    expect(found?.blob.descriptor).toEqual(config.blob.descriptor);
    expect((await readdir(at.cache.directory)).sort()).toEqual([`${IMAGE_ID}-image`, name].sort());
  });

  test("is not that of another ID", async () => {
    await using at = await filledCache();
    expect(await findCachedConfig(at.cache, "6".repeat(64), config.diffIds)).toBeUndefined();
  });

  type Cache = Awaited<ReturnType<typeof filledCache>>;
  const other = configOf(2);
  test.each<[string, (at: Cache) => Promise<unknown>]>([
    ["a pointer that is gone", ({ pointer }) => rm(pointer)],
    ["an empty pointer", ({ pointer }) => Bun.write(pointer, "")],
    ["a pointer out of the folder", ({ pointer }) => Bun.write(pointer, "../../etc/passwd")],
    ["a pointer with more behind it", ({ pointer }) => Bun.write(pointer, `${name}/../${name}`)],
    ["a pointer to nothing", ({ pointer }) => Bun.write(pointer, "0".repeat(64))],
    ["a pointer that is a folder", ({ pointer }) => rm(pointer).then(() => mkdir(pointer))],
    ["a config that is gone", ({ blob }) => rm(blob)],
    [
      "a config that is cut short",
      async ({ blob }) => Bun.write(blob, (await Bun.file(blob).text()).slice(0, -1)),
    ],
    ["a config with one more space", async ({ blob }) => Bun.write(blob, `${await Bun.file(blob).text()} `)],
    [
      "a pointer to a layer",
      async ({ path, pointer }) => {
        const layer = seededBytes(5000, 3);
        await Bun.write(path(digestOf(layer).slice(7)), layer);
        await Bun.write(pointer, digestOf(layer).slice(7));
      },
    ],
    [
      "a pointer to another image's config",
      async ({ cache, pointer }) => {
        await storeConfig(cache, "7".repeat(64), other.blob);
        await Bun.write(pointer, other.blob.descriptor.digest.slice(7));
      },
    ],
    [
      "a pointer to what is larger than any config",
      async ({ path, pointer }) => {
        const large = configOf(1, " ".repeat(4 * 1024 * 1024));
        const hex = large.blob.descriptor.digest.slice(7);
        await Bun.write(path(hex), await large.blob.content.bytes());
        await Bun.write(pointer, hex);
      },
    ],
  ])("is as good as not there: %s", async (_, damage) => {
    await using at = await filledCache();
    expect(await at.find()).toBeDefined();
    await damage(at);
    expect(await at.find()).toBeUndefined();
  });

  test("is kept anew over what was damaged", async () => {
    await using at = await filledCache();
    await Bun.write(at.blob, "{");
    await storeConfig(at.cache, IMAGE_ID, config.blob);
    expect((await at.find())?.diffIds).toEqual(config.diffIds);
  });

  test("cannot be kept where the folder is gone, which is said", async () => {
    const error = await rejection(storeConfig({ directory: "/nowhere/at/all" }, IMAGE_ID, config.blob));
    expect(error.code).toBe("FILE_FAILED");
    expect(error.hint).toContain("--cache-dir");
  });
});
