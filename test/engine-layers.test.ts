/** What is made of the layers that an engine hands over, and what their names are worth. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { PushError } from "../src/errors.ts";
import { startCompressPool } from "../src/layers/compress/pool.ts";
import { DEFAULT_COMPRESSION } from "../src/oci/compression.ts";
import { MEDIA_TYPE } from "../src/oci/descriptor.ts";
import { digestOf, parseDiffId, parseDigest } from "../src/oci/digest.ts";
import { parseImageConfig } from "../src/oci/image.ts";
import { engineLayerMaker } from "../src/push/engine-layers.ts";
import type { PushEvent } from "../src/report/events.ts";
import type { EngineSource } from "../src/source/open.ts";
import { readSavedStream } from "../src/source/stream/saved-stream.ts";
import { storeDocuments } from "../src/store/documents.ts";
import { openLayerCache } from "../src/store/layers.ts";
import { openLocks } from "../src/store/locks.ts";
import {
  archiveBytes,
  blobOf,
  classicFiles,
  type FixtureFiles,
  type FixtureImage,
  filesOf,
  fixtureImage,
  hex,
  imageBlobs,
} from "./source/image-fixture.ts";
import { piecesOf } from "./support/pieces.ts";
import { rejection } from "./support/rejection.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const image = fixtureImage(1, 2, 3);
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
async function workshop(
  saved: FixtureFiles = files,
  of: FixtureImage = image,
  { id = `sha256:${image.configHex}`, atRegistry = [] as readonly string[] } = {},
) {
  const imageId = parseDigest(id, "a test");
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
      id: imageId,
      names: [],
      created: "",
      sizeBytes: 1,
      platform: undefined,
      diffIds: of.diffIds.map((text) => parseDiffId(text, "a test")),
    },
    save(visitor, onProgress) {
      const read: string[] = [];
      saves.push(read);
      onProgress(0);
      return readSavedStream(piecesOf(archiveBytes(saved), 700), "archive", source.image, {
        ...visitor,
        onLayer(layer) {
          async function* bytes() {
            read.push(layer.path);
            yield* layer.bytes;
          }
          return visitor.onLayer({ ...layer, bytes: bytes() });
        },
      });
    },
  };
  const locks = openLocks(cache.directory, signal, (reason) => {
    throw new Error(reason);
  });
  const start = (anotherId?: string) =>
    engineLayerMaker(
      { ...source, image: { ...source.image, ...(anotherId && { id: parseDigest(anotherId, "a test") }) } },
      {
        cache,
        locks,
        pool,
        signal,
        report: (event) => events.push(event),
        isAtRegistry: async (digest) => atRegistry.includes(digest),
      },
    );
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
        if ("present" in outcome) return "present";
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
  await storeDocuments(
    shop.cache,
    new Map([[parseDigest(config, "a test"), await other.blob.content.bytes()]]),
  );
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
  expect(repaired.map((made) => "origin" in made && made.origin)).toEqual([
    "compressed",
    "compressed",
    "compressed",
  ]);
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

describe("an image of a containerd store, whose layers come compressed", () => {
  const packed = imageBlobs(image, (layer) => Bun.gzipSync(layer), MEDIA_TYPE.layer.gzip);
  const manifest = [
    { Config: packed.config.path, RepoTags: null, Layers: packed.layers.map(({ path }) => path) },
  ];
  const index = blobOf(
    JSON.stringify({
      manifests: [
        { digest: packed.manifest.digest, platform: { os: "linux", architecture: "amd64" } },
        { digest: blobOf("other").digest, platform: { os: "linux", architecture: "arm64" } },
        { digest: blobOf("attestation").digest, platform: { os: "unknown", architecture: "unknown" } },
      ],
    }),
  );
  /** By the digests of their names, as the engine sorts them. */
  const saved: FixtureFiles = {
    ...Object.fromEntries(Object.entries({ ...packed.files, [index.path]: index.bytes }).sort()),
    "manifest.json": JSON.stringify(manifest),
  };
  const layers = packed.layers.map(({ digest }) => digest);
  const documents = [packed.config, packed.manifest, index];
  /** With the documents before all layers. */
  const documentsFirst = { ...filesOf(documents), ...saved };
  const open = (files = saved, atRegistry: readonly string[] = []) =>
    workshop(files, image, { id: index.digest, atRegistry });

  test("is saved once: after that its documents and layers are in the cache, whatever leads to them", async () => {
    await using shop = await open();
    expect(await shop.make([0, 1, 2])).toEqual({ config, layers: ["made", "made", "made"] });
    const maker = shop.start();
    const found = await Promise.all(maker.layers.map((layer) => maker.findCached(layer)));
    expect(found.map((blob) => blob?.descriptor.digest as string)).toEqual(layers);
    expect((await maker.make([], []).config).descriptor.digest as string).toBe(config);
    expect(shop.saves).toHaveLength(1);
  });

  test("is told to have more in its index than goes up, in every push once", async () => {
    await using shop = await open();
    const reduced = () => shop.events.filter(({ type }) => type === "index-reduced");
    const told = {
      type: "index-reduced",
      platform: "linux/amd64",
      platforms: ["linux/arm64"],
      attestations: 1,
    };
    await shop.make([0, 1, 2]);
    expect(reduced()).toEqual([told] as never);
    await shop.make([]);
    expect(reduced()).toEqual([told, told] as never);
  });

  test("lends no layer to an image of another ID: nobody has checked what it unpacks to", async () => {
    await using shop = await open();
    await shop.make([0, 1, 2]);
    const other = blobOf(JSON.stringify({ manifests: [{ digest: packed.manifest.digest }], other: true }));
    const maker = shop.start(other.digest);
    expect(await Promise.all(maker.layers.map((layer) => maker.findCached(layer)))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("is read no further than its documents where the registry has the layers", async () => {
    await using shop = await open(documentsFirst, layers);
    expect(await shop.make([0, 1, 2])).toEqual({ config, layers: ["present", "present", "present"] });
    expect((await readdir(shop.cache.directory)).filter((name) => layers.includes(`sha256:${name}`))).toEqual(
      [],
    );
  });

  test("is saved again for a layer that is damaged in the cache", async () => {
    await using shop = await open();
    await shop.make([0, 1, 2]);
    const [first = ""] = layers;
    await Bun.write(join(shop.cache.directory, first.slice(7)), "damaged");
    const maker = shop.start();
    const [layer] = maker.layers;
    if (layer === undefined) throw new Error("There is no layer.");
    const made = await maker.repair(layer);
    if ("present" in made) throw new Error("The registry has it.");
    expect(digestOf(await made.blob.content.bytes()) as string).toBe(first);
    expect(shop.saves).toHaveLength(2);
  });
});
