/** What is made of the layers that an engine hands over, and what their names are worth. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { openLocks } from "../src/cache/lock.ts";
import { engineLayerMaker } from "../src/engine-layers.ts";
import { PushError } from "../src/errors.ts";
import { startCompressPool } from "../src/layers/compress-pool.ts";
import { storeConfig } from "../src/layers/config-cache.ts";
import { openLayerCache } from "../src/layers/layer-cache.ts";
import { DEFAULT_COMPRESSION } from "../src/oci/compression.ts";
import { digestOf, parseDiffId } from "../src/oci/digest.ts";
import { parseImageConfig } from "../src/oci/image.ts";
import type { PushEvent } from "../src/report/event.ts";
import type { EngineSource } from "../src/source/open-source.ts";
import { readSavedStream } from "../src/source/saved-stream.ts";
import {
  archiveBytes,
  classicFiles,
  type FixtureFiles,
  type FixtureImage,
  fixtureImage,
  hex,
} from "./source/image-fixture.ts";
import { piecesOf } from "./support/pieces.ts";
import { rejection } from "./support/rejection.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const image = fixtureImage(1, 2, 3);
const diffIds = image.diffIds.map((text) => parseDiffId(text, "a test"));
const pathOf = (i: number) => `${hex(`v1 id ${i} ${image.configHex}`)}/layer.tar`;

/** As an engine saves it of which nothing is known before a layer is read. */
const files = classicFiles(image, null);

/** The same, with layers that are called by diffIDs, as engines from 25 on do: rightly or not. */
function namedFiles(names: readonly number[]): { files: FixtureFiles; paths: string[] } {
  const paths = names.map((name) => `${image.diffIds[name]?.slice("sha256:".length)}/layer.tar`);
  const renamed = Object.entries(files).map(([path, content]) => {
    const i = image.layers.findIndex((_, each) => path === pathOf(each));
    return [paths[i] ?? path, content] as const;
  });
  const manifest = JSON.stringify([{ Config: `${image.configHex}.json`, RepoTags: null, Layers: paths }]);
  return { files: { ...Object.fromEntries(renamed), "manifest.json": manifest }, paths };
}

/** An engine that has one image, and a cache. */
async function workshop(saved: FixtureFiles = files, of: FixtureImage = image) {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  const pool = startCompressPool(DEFAULT_COMPRESSION, 2);
  const { signal } = new AbortController();
  const events: PushEvent[] = [];
  /** The layers that were read, of each save. */
  const saves: string[][] = [];
  const source: EngineSource = {
    kind: "engine",
    description: { kind: "engine", name: "my/app:v1", date: undefined, sizeBytes: undefined },
    image: {
      id: image.configHex,
      names: [],
      created: "",
      sizeBytes: 1,
      platform: undefined,
      diffIds: of.diffIds.map((text) => parseDiffId(text, "a test")),
    },
    save(onLayer, onProgress) {
      const read: string[] = [];
      saves.push(read);
      onProgress(0);
      return readSavedStream(piecesOf(archiveBytes(saved), 700), "archive", diffIds, (layer) => {
        async function* bytes() {
          read.push(layer.path);
          yield* layer.bytes;
        }
        return onLayer({ ...layer, bytes: bytes() });
      });
    },
  };
  const locks = openLocks(cache.directory, signal, (reason) => {
    throw new Error(reason);
  });
  const start = () =>
    engineLayerMaker(source, { cache, locks, pool, signal, report: (event) => events.push(event) });
  return {
    cache,
    saves,
    events,
    start,
    /** Makes layers as a push of its own. @returns what each unpacks to, or why there is none */
    async make(wanted: readonly number[]) {
      const maker = start();
      const made = maker.make(
        maker.layers.filter((_, i) => wanted.includes(i)),
        [],
      );
      const results = [...made.layers].map(async ([diffId, prepared]) => {
        const outcome = await prepared.catch((error: PushError) => error);
        if (outcome instanceof PushError) return outcome.code;
        const content = await outcome.blob.content.bytes();
        expect(digestOf(content)).toBe(outcome.blob.descriptor.digest);
        return digestOf(Bun.gunzipSync(content)) === (diffId as string) ? "made" : "wrong";
      });
      const config = await made.config.then(
        ({ descriptor }) => descriptor.digest as string,
        (error) => error.code,
      );
      return { config, layers: await Promise.all(results) };
    },
    async [Symbol.asyncDispose]() {
      pool[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const config = `sha256:${image.configHex}`;

describe("an engine", () => {
  test("hands over layers that are read until all are there", async () => {
    await using shop = await workshop();
    expect(await shop.make([0, 1])).toEqual({ config, layers: ["made", "made"] });
    expect(shop.saves).toEqual([[pathOf(0), pathOf(1)]]);
  });

  test("hands over no layer that is not wanted by its name", async () => {
    const { files: named, paths } = namedFiles([0, 1, 2]);
    await using shop = await workshop(named);
    expect(await shop.make([2])).toEqual({ config, layers: ["made"] });
    expect(shop.saves).toEqual([[paths[2] ?? ""]]);
  });

  test("is asked once more, and no name believed, where names led past what is wanted", async () => {
    const { files: named } = namedFiles([2, 1, 0]);
    await using shop = await workshop(named);
    expect(await shop.make([2])).toEqual({ config, layers: ["made"] });
    expect(shop.saves).toHaveLength(2);
  });

  test("hands over another layer than its name says, which is taken for what it is", async () => {
    const { files: named } = namedFiles([1, 0, 2]);
    await using shop = await workshop(named);
    expect(await shop.make([0, 1])).toEqual({ config, layers: ["made", "made"] });
  });

  test("is asked for nothing where all is in the cache", async () => {
    await using shop = await workshop();
    await shop.make([0, 1, 2]);
    expect(await shop.make([0, 1])).toEqual({ config, layers: ["made", "made"] });
    expect(await shop.make([])).toEqual({ config, layers: [] });
    expect(shop.saves).toHaveLength(1);
  });
});

test("a config in the cache that has other layers is not the image's", async () => {
  await using shop = await workshop();
  const other = parseImageConfig(new TextEncoder().encode(fixtureImage(7, 8, 9).config), "a test");
  await storeConfig(shop.cache, image.configHex, other.blob);
  expect((await shop.make([])).config).toBe(config);
  expect(shop.saves).toHaveLength(1);
});

describe("an archive that is not what the engine said", () => {
  test("has other layers: nothing of it is pushed", async () => {
    await using shop = await workshop(classicFiles(fixtureImage(1, 2), null), image);
    expect((await shop.make([0, 1, 2])).config).toBe("IMAGE_INVALID");
  });

  test.each<[string, string | Uint8Array]>([
    ["a damaged layer", (image.layers[1] ?? new Uint8Array()).with(1000, 1)],
    ["a layer that is cut short", (image.layers[1] ?? new Uint8Array()).subarray(0, 1024)],
    ["an empty one", ""],
    ["a compressed one that unpacks to something else", Bun.gzipSync("something else")],
    ["what cannot be unpacked", Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(50, 1)])],
  ])("has %s: it is missed, and not kept under the name of the right one", async (_, content) => {
    await using shop = await workshop({ ...files, [pathOf(1)]: content });
    const { layers } = await shop.make([0, 1, 2]);
    expect(layers[1]).not.toBe("made");
    expect(layers).not.toContain("wrong");
    const kept = await readdir(shop.cache.directory);
    expect(kept).not.toContain(`${image.diffIds[1]?.slice(7)}-ptr`);
    expect(kept.filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("has a compressed layer, which is taken as it is and called that", async () => {
    const packed = Bun.gzipSync(image.layers[1] ?? "");
    await using shop = await workshop({ ...files, [pathOf(1)]: packed });
    expect((await shop.make([0, 1, 2])).layers).toEqual(["made", "made", "made"]);
    const checked = shop.events.filter(
      (event) => event.type === "task-finished" && event.task.verb === "checking",
    );
    expect(checked).toHaveLength(1);
    expect(checked[0]).toMatchObject({ task: { subject: expect.stringMatching(/^layer 2\//) } });
  });
});

test("layers that have to be made again at the same time take one more save", async () => {
  await using shop = await workshop();
  const maker = shop.start();
  await maker.make(maker.layers, []).config;
  for (const name of await readdir(shop.cache.directory)) {
    const path = join(shop.cache.directory, name);
    if (name.endsWith("-ptr"))
      await Bun.write(join(shop.cache.directory, await Bun.file(path).text()), "damaged");
  }
  const repaired = await Promise.all(maker.layers.map((layer) => maker.repair(layer)));
  expect(repaired.map(({ origin }) => origin)).toEqual(["compressed", "compressed", "compressed"]);
  // Those that come while the first of them is made wait for the one after.
  expect(shop.saves.length).toBeLessThanOrEqual(3);
  expect(shop.events.map(({ type }) => type)).not.toContain("other-push-awaited");
});

test("a save that fails fails every layer that waits, with the engine's own words", async () => {
  await using shop = await workshop({});
  const maker = shop.start();
  const made = maker.make(maker.layers, []);
  const codes = [made.config, ...made.layers.values()].map(async (each) => (await rejection(each)).code);
  expect(new Set(await Promise.all(codes))).toEqual(new Set(["ARCHIVE_INVALID"] as const));
});
