/** What is made of the layers that an engine hands over while it saves an image, and what their names are worth. */
import { describe, expect, test } from "bun:test";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { PushError } from "../../src/errors.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf, parseDiffId, parseDigest } from "../../src/oci/digest.ts";
import { parseImageConfig } from "../../src/oci/image.ts";
import { bringBlobs } from "../../src/push/bring.ts";
import { type Job, openJob } from "../../src/push/job.ts";
import { remakeStreamed, startSaves } from "../../src/push/make-streamed.ts";
import { type Plan, startPlan } from "../../src/push/plan.ts";
import { publish } from "../../src/push/publish.ts";
import { readStream } from "../../src/push/read-stream.ts";
import { connectTarget } from "../../src/push/target.ts";
import type { PushEvent } from "../../src/report/events.ts";
import type { Source } from "../../src/source/source.ts";
import { readSavedStream, type SavedLayer } from "../../src/source/stream/saved-stream.ts";
import { storeDocuments } from "../../src/store/documents.ts";
import { openLayerCache } from "../../src/store/layers.ts";
import {
  attestationOf,
  type FixtureImage,
  filesOf,
  fixtureImage,
  hex,
  indexOf,
  platformImage,
} from "../support/image-fixture.ts";
import { archiveBytes, classicFiles, type FixtureFiles } from "../support/image-forms.ts";
import { piecesOf } from "../support/pieces.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

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

/** What a blob is believed to be that a push finds at the registry. */
const ELSEWHERE = {
  mediaType: MEDIA_TYPE.layer.gzip,
  digest: parseDigest(`sha256:${"0".repeat(64)}`, "a test"),
  size: 1,
};

/** An engine that has one image, and pushes of it with one cache, each to a new registry unless one is given. */
async function workshop(
  saved: FixtureFiles = files,
  of: FixtureImage = image,
  { id = `sha256:${image.configHex}`, to }: { id?: string; to?: TestRegistry } = {},
) {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const cache = await openLayerCache(join(folder.path, "cache"));
  const events: PushEvent[] = [];
  /** The layers that were read, of each save. */
  const saves: string[][] = [];
  /** Archives that were read to their last piece. */
  const finished: FixtureFiles[] = [];
  async function* archive() {
    yield* piecesOf(archiveBytes(saved), 700);
    finished.push(saved);
  }
  const sourceOf = (imageId: string): Source => {
    const inspected = {
      id: parseDigest(imageId, "a test"),
      names: [],
      created: "",
      isContainerd: imageId !== `sha256:${of.configHex}`,
      sizeBytes: 1,
      platform: undefined,
      diffIds: of.diffIds.map((text) => parseDiffId(text, "a test")),
    };
    return {
      access: "save",
      engine: { runtime: "docker", command: "docker", environment: {}, signal: new AbortController().signal },
      origin: {
        kind: "engine",
        name: "my/app:v1",
        engine: "the Docker engine",
        date: undefined,
        sizeBytes: undefined,
      },
      image: inspected,
      whySaved: "",
      save() {
        saves.push(["whole"]);
        return archive();
      },
      async *read(onProgress) {
        const read: string[] = [];
        saves.push(read);
        onProgress(0);
        for await (const part of readSavedStream(archive(), "archive", inspected)) {
          if (part.kind !== "layer") {
            yield part;
            continue;
          }
          async function* noted(path: string, bytes: SavedLayer["bytes"]) {
            read.push(path);
            yield* bytes;
          }
          yield { ...part, bytes: noted(part.path, part.bytes) };
        }
      },
      [Symbol.asyncDispose]: async () => {},
    };
  };

  /** Does something in a push of its own. */
  async function inPush<T>(
    work: (push: { plan: Plan; job: Job; registry: TestRegistry }) => Promise<T>,
    imageId = id,
  ): Promise<T> {
    const registry = to ?? resources.use(await startTestRegistry());
    await using job = await openJob({
      source: "my/app:v1",
      target: `${registry.host}/my/app:v1`,
      cacheDirectory: cache.directory,
      report: (event) => events.push(event),
    });
    const target = await connectTarget(job);
    const plan = startPlan(await readStream(sourceOf(imageId), target, job), target, job);
    return await work({ plan, job, registry });
  }

  return {
    cache,
    saves,
    finished,
    events,
    inPush,
    /** Brings layers in a push that finds the others elsewhere. @returns what each is at the registry, or a code */
    make: (wanted: readonly number[]) =>
      inPush(async ({ plan, job, registry }) => {
        const settled = Promise.resolve({ step: "present", descriptor: ELSEWHERE } as const);
        const layers = plan.layers.map((layer, i) => (wanted.includes(i) ? layer : { ...layer, settled }));
        const blobs = bringBlobs({ ...plan, layers }, job);
        const results = layers.map(async (layer, i) => {
          if (!wanted.includes(i)) return [];
          const outcome = await blobs.all.get(layer)?.catch((error: PushError) => error);
          if (outcome instanceof PushError) return [outcome.code];
          if (outcome === undefined) throw new Error("The layer was not brought.");
          if (outcome.how === "present") return ["present"];
          const content = await registry.pullBlob("my/app", outcome.descriptor.digest);
          expect(digestOf(content)).toBe(outcome.descriptor.digest);
          return [digestOf(Bun.gunzipSync(content)) === (layer.diffId as string) ? "made" : "wrong"];
        });
        const [other] = plan.others;
        const config = await (other && blobs.all.get(other))?.then(
          ({ descriptor: { digest } }) => digest as string,
          (error: PushError) => error.code,
        );
        return { config, layers: (await Promise.all(results)).flat() };
      }),
    /** Damages every layer in the cache that a pointer leads to. */
    async damage() {
      for (const name of await readdir(cache.directory)) {
        const path = join(cache.directory, name);
        if (name.endsWith("-ptr"))
          await Bun.write(join(cache.directory, await Bun.file(path).text()), "damaged");
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const config = `sha256:${image.configHex}`;

describe("a push of an engine's image", () => {
  test("reads layers until all that it needs are there", async () => {
    await using shop = await workshop();
    expect(await shop.make([0, 1])).toEqual({ config, layers: ["made", "made"] });
    expect(shop.saves).toEqual([[pathOf(0), pathOf(1)]]);
  });

  test("reads no layer that it does not need by its name", async () => {
    const { files: named, paths } = namedFiles([0, 1, 2]);
    await using shop = await workshop(named);
    expect(await shop.make([2])).toEqual({ config, layers: ["made"] });
    expect(shop.saves).toEqual([[paths[2] ?? ""]]);
  });

  test("has the image saved once more, and trusts no name, if wrong names made it skip a layer", async () => {
    const { files: named } = namedFiles([2, 1, 0]);
    await using shop = await workshop(named);
    expect(await shop.make([2])).toEqual({ config, layers: ["made"] });
    expect(shop.saves).toHaveLength(2);
  });

  test("takes a layer with a wrong name for what it is", async () => {
    const { files: named } = namedFiles([1, 0, 2]);
    await using shop = await workshop(named);
    expect(await shop.make([0, 1])).toEqual({ config, layers: ["made", "made"] });
  });

  test("has nothing saved where all is in the cache", async () => {
    await using shop = await workshop();
    await shop.make([0, 1, 2]);
    expect(await shop.make([0, 1])).toEqual({ config, layers: ["made", "made"] });
    expect(await shop.make([])).toEqual({ config, layers: [] });
    expect(shop.saves).toHaveLength(1);
  });

  test("does not trust a config in the cache that has other layers", async () => {
    await using shop = await workshop();
    const other = parseImageConfig(new TextEncoder().encode(fixtureImage(7, 8, 9).config), "a test");
    await storeDocuments(
      shop.cache,
      new Map([[parseDigest(config, "a test"), await other.blob.content.bytes()]]),
    );
    expect((await shop.make([])).config).toBe(config);
    expect(shop.saves).toHaveLength(1);
  });

  test("has the image saved again for cached layers that are damaged, and sends them whole", async () => {
    await using shop = await workshop();
    await shop.make([0, 1, 2]);
    await shop.damage();
    expect(await shop.make([0, 1, 2])).toEqual({ config, layers: ["made", "made", "made"] });
    // Those that come while the first of them is made wait for the save after that.
    expect(shop.saves.length).toBeGreaterThanOrEqual(2);
    expect(shop.saves.length).toBeLessThanOrEqual(4);
  });
});

describe("an archive that is not what the engine said", () => {
  test("tags nothing where it has other layers", async () => {
    await using shop = await workshop(classicFiles(fixtureImage(1, 2), null), image);
    expect((await shop.make([0, 1, 2])).config).toBe("IMAGE_INVALID");
    await shop.inPush(async ({ plan, job, registry }) => {
      const error = await rejection(publish(plan, bringBlobs(plan, job), job));
      expect(error.code).toBe("IMAGE_INVALID");
      expect(registry.recorded("put-manifest")).toEqual([]);
    });
  });

  test.each<[string, string | Uint8Array]>([
    ["a damaged layer", (image.layers[1] ?? new Uint8Array()).with(1000, 1)],
    ["a layer that is cut short", (image.layers[1] ?? new Uint8Array()).subarray(0, 1024)],
    ["an empty layer", ""],
    ["a compressed layer that unpacks to something else", Bun.gzipSync("something else")],
    ["a layer that cannot be unpacked", Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(50, 1)])],
  ])("fails for %s, which is not kept under the name of the right one", async (_, content) => {
    await using shop = await workshop({ ...files, [pathOf(1)]: content });
    const { layers } = await shop.make([0, 1, 2]);
    expect(layers[1]).toBeOneOf(["IMAGE_INCOMPLETE", "CONTENT_MISMATCH"]);
    expect(layers).not.toContain("wrong");
    const kept = await readdir(shop.cache.directory);
    expect(kept).not.toContain(`${image.diffIds[1]?.slice(7)}-ptr`);
    expect(kept.filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("may have a compressed layer, which goes up as it is and is reported as verified", async () => {
    const packed = Bun.gzipSync(image.layers[1] ?? "");
    await using shop = await workshop({ ...files, [pathOf(1)]: packed });
    expect((await shop.make([0, 1, 2])).layers).toEqual(["made", "made", "made"]);
    const verified = shop.events.filter(
      (event) => event.type === "blob" && event.state === "ready" && event.how === "verified",
    );
    expect(verified).toHaveLength(1);
    expect(verified[0]).toMatchObject({ title: expect.stringMatching(/^layer 2\//) });
  });
});

test("Layers that have to be made again at the same time take one more save", async () => {
  await using shop = await workshop();
  await shop.inPush(async ({ plan, job }) => {
    if (plan.source.access !== "save") throw new Error("This should be an engine's image.");
    const saves = startSaves(plan.source, plan, Promise.resolve(plan.layers), job);
    await saves.config;
    await shop.damage();
    const remade = await Promise.all(plan.layers.map((layer) => remakeStreamed(saves, layer)));
    expect(remade.map(({ origin }) => origin)).toEqual(["compressed", "compressed", "compressed"]);
  });
  // Those that come while the first of them is made wait for the save after that.
  expect(shop.saves.length).toBeLessThanOrEqual(3);
  const states = shop.events.map((event) => event.type === "blob" && event.state);
  expect(states).not.toContain("awaiting-compress");
});

test("A save that fails fails every layer that waits, and the config, with the same code", async () => {
  await using shop = await workshop({});
  await shop.inPush(async ({ plan, job }) => {
    const blobs = bringBlobs(plan, job);
    const codes = await Promise.all(
      [...blobs.all.values()].map(async (each) => (await rejection(each)).code),
    );
    expect(codes).toEqual(Array(4).fill("IMAGE_INVALID"));
  });
});

describe("an image of a containerd store, which has its manifests and compressed layers", () => {
  const amd64 = platformImage("amd64", [1, 2]);
  const about = attestationOf(amd64.root);
  const whole = indexOf([amd64.entry, about.entry]);
  const reduced = indexOf([amd64.entry, platformImage("s390x", [9]).entry, about.entry]);
  const files: FixtureFiles = {
    ...Object.fromEntries(Object.entries({ ...amd64.files, ...about.files }).sort()),
    ...filesOf([whole, reduced]),
  };
  const open = (id: string) => workshop(files, image, { id });
  type Shop = Awaited<ReturnType<typeof open>>;
  const pushed = (shop: Shop) =>
    shop.inPush(async ({ plan, job, registry }) => {
      const { digest } = await publish(plan, bringBlobs(plan, job), job);
      for (const { digest: layer, bytes } of amd64.layers)
        expect(await registry.pullBlob("my/app", layer)).toEqual(bytes);
      return digest as string;
    });
  const codes = (shop: Shop) => shop.events.flatMap((event) => (event.type === "notice" ? [event.code] : []));

  test("is saved once: after that all of its index is in the cache, and goes up whole", async () => {
    await using shop = await open(whole.digest);
    expect([await pushed(shop), await pushed(shop)]).toEqual([whole.digest, whole.digest]);
    expect(shop.saves).toHaveLength(1);
    expect(codes(shop)).toEqual([]);
  });

  test("is saved every time where the engine may have more of its index by then, and says what is left out", async () => {
    await using shop = await open(reduced.digest);
    expect([await pushed(shop), await pushed(shop)]).toEqual([amd64.root.digest, amd64.root.digest]);
    expect(shop.saves).toHaveLength(2);
    expect(codes(shop)).toEqual(["INDEX_REDUCED", "INDEX_REDUCED"]);
  });

  test("is saved again where a part of it is no longer in the cache", async () => {
    for (const { digest } of [...amd64.layers, amd64.root, about.root]) {
      await using shop = await open(whole.digest);
      await pushed(shop);
      await rm(join(shop.cache.directory, digest.slice("sha256:".length)));
      expect(await pushed(shop)).toBe(whole.digest);
      expect(shop.saves).toHaveLength(2);
    }
  });

  test("is saved once by two pushes at a time", async () => {
    await using shop = await open(whole.digest);
    expect(await Promise.all([pushed(shop), pushed(shop)])).toEqual([whole.digest, whole.digest]);
    expect(shop.saves).toHaveLength(1);
  });

  test("is saved again for what is damaged in the cache, which is sent whole", async () => {
    await using shop = await open(whole.digest);
    await pushed(shop);
    const paths = amd64.layers.map(({ digest }) =>
      join(shop.cache.directory, digest.slice("sha256:".length)),
    );
    for (const path of paths) await Bun.write(path, (await Bun.file(path).bytes()).with(100, 1));
    expect(await pushed(shop)).toBe(whole.digest);
    // What is found to be damaged during a save waits for the one after that.
    expect(shop.saves.length).toBeGreaterThanOrEqual(2);
    expect(shop.saves.length).toBeLessThanOrEqual(3);
    for (const [i, path] of paths.entries())
      expect(digestOf(await Bun.file(path).bytes()) as string).toBe(amd64.layers[i]?.digest ?? "");
  });
});
