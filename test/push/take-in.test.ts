/** Archives that come as a stream: what arrives, what is kept, and what becomes of those that are wrong. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { type PushEvent, type PushOptions, push } from "../../index.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { faultAt, unavailable } from "../support/faults.ts";
import {
  blobOf,
  descriptorOf,
  EMPTY_TYPE,
  type FixtureTree,
  fixtureImage,
  manifestOf,
  multiPlatform,
} from "../support/image-fixture.ts";
import {
  archiveBytes,
  classicFiles,
  type FixtureFiles,
  layoutFiles,
  podmanFiles,
} from "../support/image-forms.ts";
import { piecesOf } from "../support/pieces.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type FixtureMember, tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Pushes of streams with one cache, to one registry at first. */
async function workplace(intercept?: Intercept) {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const newRegistry = async (options = {}) => resources.use(await startTestRegistry(options));
  const registry = await newRegistry(intercept && { intercept });
  const cache = join(folder.path, "cache");
  return {
    cache,
    registry,
    newRegistry,
    files: async () => (await readdir(cache)).filter((name) => !name.startsWith(".")).sort(),
    leftovers: async () => (await readdir(cache)).filter((name) => name.endsWith(".tmp")),
    async push(stream: AsyncIterable<Uint8Array>, options: Partial<PushOptions> = {}, to = registry) {
      const events: PushEvent[] = [];
      const pushed = await push({
        retryDelayMs: 10,
        source: { name: "standard input", stream },
        target: `${to.host}/my/app:v1`,
        cacheDirectory: cache,
        report: (event) => events.push(event),
        ...options,
      });
      const blobs = events.flatMap((event) => (event.type === "blob" ? [event] : []));
      const states = blobs.flatMap((event) =>
        "how" in event ? [event.state, event.how].join(" ") : event.state,
      );
      return { pushed, events, blobs, states: new Set(states) };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const streamOf = (files: FixtureFiles, pieceBytes = 700) => piecesOf(archiveBytes(files), pieceBytes);

type Manifest = { config: { digest: string }; layers: { digest: string; mediaType: string }[] };

async function pulled(registry: TestRegistry): Promise<Manifest> {
  return JSON.parse((await registry.pullManifest("my/app", "v1")) ?? "null") as Manifest;
}

/** The raw digests of the layers that the registry has under the tag. */
async function diffIdsAt(registry: TestRegistry): Promise<string[]> {
  const { layers } = await pulled(registry);
  const raw = layers.map(async ({ digest, mediaType }) => {
    const bytes = await registry.pullBlob("my/app", digest);
    return digestOf(mediaType.endsWith("gzip") ? Bun.gunzipSync(bytes) : bytes) as string;
  });
  return Promise.all(raw);
}

const image = fixtureImage(1, 2, 1);
const classic = classicFiles(image, ["my/app:v1"]);
const podman = podmanFiles(image, ["localhost/my/app:v1"]);
const layoutOf = ({ root, files }: FixtureTree) => ({
  ...files,
  ...layoutFiles([descriptorOf(root, MEDIA_TYPE.manifest)]),
});
const packed = manifestOf(
  image.config,
  image.layers.map((layer) => Bun.gzipSync(layer)),
);
const layout = layoutOf(packed);
const [packedLayer = blobOf("")] = packed.layers;
describe("an archive on standard input", () => {
  const forms: Record<string, Bytes> = {
    "Docker 20.10's": archiveBytes(classic),
    "Podman's": archiveBytes(podman),
    "an OCI layout": archiveBytes(layout),
    "through gzip": Bun.gzipSync(archiveBytes(classic)),
    "through zstd": new Uint8Array(Bun.zstdCompressSync(archiveBytes(podman))),
  };
  const cases = Object.entries(forms).flatMap(([name, bytes]) =>
    [1, 511, 65_536].map((pieceBytes) => ({ name, bytes, pieceBytes })),
  );
  test.each(cases)(
    "arrives whole: $name, in pieces of $pieceBytes bytes",
    async ({ bytes, pieceBytes }) => {
      await using place = await workplace();
      const { pushed, events } = await place.push(piecesOf(bytes, pieceBytes));
      const text = (await place.registry.pullManifest("my/app", "v1")) ?? "";
      expect(pushed.digest as string).toBe(digestOf(Buffer.from(text)));
      expect((await pulled(place.registry)).config.digest).toBe(`sha256:${image.configHex}`);
      expect(await diffIdsAt(place.registry)).toEqual([...image.diffIds]);
      expect(await place.leftovers()).toEqual([]);
      const done = events.flatMap((event) =>
        event.type === "reading" && event.isDone ? [event.doneBytes] : [],
      );
      expect(done).toEqual([bytes.length]);
    },
    20_000,
  );

  test("may have hard links in place of equal layers", async () => {
    await using place = await workplace();
    const members = Object.entries(classic).map(([path, body]): FixtureMember => {
      if (typeof body !== "string" || !body.startsWith("→ ../")) return { path, body };
      return { path, flag: "1", linkpath: body.slice("→ ../".length) };
    });
    await place.push(piecesOf(tarBytes(members), 700));
    expect(await diffIdsAt(place.registry)).toEqual([...image.diffIds]);
  });

  test("keeps its manifest, byte for byte, where its layers come compressed", async () => {
    await using place = await workplace();
    const { pushed } = await place.push(streamOf(layout));
    expect(pushed.digest as string).toBe(packed.root.digest);
  });

  test("keeps an index with its platforms and attestations", async () => {
    await using place = await workplace();
    const tree = multiPlatform();
    const files = { ...tree.files, ...layoutFiles([descriptorOf(tree.root, MEDIA_TYPE.index)]) };
    const { pushed } = await place.push(streamOf(files));
    expect(pushed.digest as string).toBe(tree.root.digest);
  });

  test("goes up uncompressed where that is wanted", async () => {
    await using place = await workplace();
    await place.push(streamOf(podman), { compression: { kind: "none" } });
    expect((await pulled(place.registry)).layers.map(({ digest }) => digest)).toEqual([...image.diffIds]);
  });

  test("gives the image that is named of several", async () => {
    await using place = await workplace();
    const other = podmanFiles(fixtureImage(8), ["my/other:v1"]);
    const both = [other, podman].flatMap((each) => JSON.parse(String(each["manifest.json"])) as unknown[]);
    const files = { ...other, ...podman, "manifest.json": JSON.stringify(both) };
    await place.push(streamOf(files), { image: "my/other:v1" });
    expect(await diffIdsAt(place.registry)).toEqual([...fixtureImage(8).diffIds]);
    const error = await rejection(place.push(streamOf(files), { target: `${place.registry.host}/x:v1` }));
    expect(error.code).toBe("SOURCE_AMBIGUOUS");
  });

  test("goes to several registries", async () => {
    await using place = await workplace();
    const second = await place.newRegistry();
    const target = [place.registry, second].map(({ host }) => `${host}/my/app:v1`);
    const { pushed } = await place.push(streamOf(podman), { target });
    const [other] = pushed.others ?? [];
    expect(other).toMatchObject({ digest: pushed.digest, sentBytes: pushed.sentBytes, presentBytes: 0 });
    for (const registry of [place.registry, second])
      expect(await diffIdsAt(registry)).toEqual([...image.diffIds]);
  });

  test("keeps in the cache what goes up, and nothing uncompressed", async () => {
    await using place = await workplace();
    // Zeros compress well: no file of the cache comes near the layer's size.
    const raw = tarBytes([{ path: "zeros", body: new Uint8Array(8_000_000) }]);
    const diffId = digestOf(raw);
    const config = JSON.stringify({ rootfs: { diff_ids: [diffId] } });
    const manifest = JSON.stringify([{ Config: "c.json", Layers: ["l.tar"] }]);
    let mostBytes = 0;
    async function* watched() {
      for await (const piece of streamOf(
        { "l.tar": raw, "c.json": config, "manifest.json": manifest },
        65_536,
      )) {
        yield piece;
        for (const name of await readdir(place.cache))
          mostBytes = Math.max(mostBytes, Bun.file(join(place.cache, name)).size);
      }
    }
    await place.push(watched());
    expect(mostBytes).toBeGreaterThan(0);
    expect(mostBytes).toBeLessThan(200_000);
  });
});

describe("a layer of a stream that the cache has", () => {
  test("is not compressed again where its name is its diffID", async () => {
    await using place = await workplace();
    await place.push(streamOf(podman));
    const registry = await place.newRegistry();
    const { states } = await place.push(streamOf(podman), {}, registry);
    expect(states).not.toContain("compressing");
    expect(states).toContain("verifying");
    expect(await diffIdsAt(registry)).toEqual([...image.diffIds]);
  });

  test("is refused where its name says that it is another", async () => {
    await using place = await workplace();
    await place.push(streamOf(podman));
    const wrong = { ...podman, [`${image.diffIds[0]?.slice(7)}.tar`]: image.layers[1] ?? "" };
    const registry = await place.newRegistry();
    expect((await rejection(place.push(streamOf(wrong), {}, registry))).code).toBe("CONTENT_MISMATCH");
    expect(registry.recorded("put-manifest")).toEqual([]);
  });

  test("is passed over where it comes compressed", async () => {
    await using place = await workplace();
    const first = await place.push(streamOf(layout));
    const registry = await place.newRegistry();
    const { states, pushed } = await place.push(streamOf(layout), {}, registry);
    expect(states).not.toContain("compressing");
    expect(pushed).toMatchObject({ digest: first.pushed.digest, sentBytes: first.pushed.sentBytes });
  });

  test.each([
    ["comes compressed", layout],
    ["is named by its diffID", podman],
  ])("is taken from the stream where the cached one is damaged, and %s", async (_, files) => {
    await using place = await workplace();
    const { pushed } = await place.push(streamOf(files));
    const { layers } = await pulled(place.registry);
    for (const { digest } of layers)
      await Bun.write(join(place.cache, digest.slice(7)), Buffer.from([0x1f, 0x8b, 8]));
    const registry = await place.newRegistry();
    const again = await place.push(streamOf(files), {}, registry);
    expect(again.pushed.digest).toBe(pushed.digest);
    expect(await diffIdsAt(registry)).toEqual([...image.diffIds]);
  });
});

describe("a file of a stream that is no layer", () => {
  const config = JSON.stringify({});
  const parts = { configType: EMPTY_TYPE, layerType: "application/x-model" };

  test.each([
    ["is too large for a document", seededBytes(5_000_000, 1)],
    ["is a tar", new Uint8Array(tarBytes([{ path: "weights", body: seededBytes(5000, 2) }]))],
    ["is compressed", Bun.gzipSync(seededBytes(5000, 3))],
    ["is small", seededBytes(500, 4)],
    ["is empty", new Uint8Array()],
  ])("goes up as it is where it %s", async (_, content) => {
    await using place = await workplace();
    const tree = manifestOf(config, [content], parts);
    const { pushed } = await place.push(streamOf(layoutOf(tree), 65_536));
    expect(pushed.digest as string).toBe(tree.root.digest);
    const [blob] = tree.layers;
    expect(await place.registry.pullBlob("my/app", blob?.digest ?? "")).toEqual(new Uint8Array(content));
    expect(await place.leftovers()).toEqual([]);
  });
});

describe("a stream that is wrong", () => {
  const whole = archiveBytes(podman);
  const name = `${image.diffIds[1]?.slice(7)}.tar`;
  const body = image.layers[1] ?? new Uint8Array();
  const twice = (second: Uint8Array) =>
    Buffer.concat([tarBytes([{ path: name, body: second }]).subarray(0, -1024), whole]);
  const inside = Buffer.concat([whole.subarray(0, -1024), archiveBytes({ [`${name}/x`]: "x" })]);
  const cases: [what: string, bytes: Uint8Array, code: string][] = [
    ["cut short in a layer", whole.subarray(0, 2000), "ARCHIVE_INVALID"],
    ["cut short before its manifest", whole.subarray(0, whole.length - 3000), "ARCHIVE_INVALID"],
    ["cut short in gzip", Bun.gzipSync(whole).subarray(0, 5000), "ARCHIVE_INVALID"],
    ["cut short in zstd", Bun.zstdCompressSync(whole).subarray(0, 5000), "ARCHIVE_INVALID"],
    ["empty", new Uint8Array(), "ARCHIVE_INVALID"],
    ["text", Buffer.from("no archive at all. ".repeat(100)), "SOURCE_NOT_IMAGE"],
    ["one with two members of a name that differ", twice(body.with(600, 1)), "ARCHIVE_INVALID"],
    ["one with a member inside of a file", inside, "ARCHIVE_INVALID"],
    ["one that leads out of itself", archiveBytes({ ...podman, "../x": "x" }), "ARCHIVE_INVALID"],
    ["one whose layer is missing", archiveBytes({ ...podman, [name]: "→ nowhere" }), "IMAGE_INCOMPLETE"],
    [
      "one with a damaged raw layer",
      archiveBytes({ ...podman, [name]: body.with(600, 1) }),
      "CONTENT_MISMATCH",
    ],
    [
      "one with a damaged compressed layer",
      archiveBytes({ ...layout, [packedLayer.path]: packedLayer.bytes.with(100, 1) }),
      "CONTENT_MISMATCH",
    ],
    [
      "one with another blob under a layer's name",
      archiveBytes({ ...layout, [packedLayer.path]: Bun.gzipSync("something else") }),
      "CONTENT_MISMATCH",
    ],
    [
      "one with documents that fill memory",
      archiveBytes(
        Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`${i}`, new Uint8Array(4 * 1024 * 1024)])),
      ),
      "ARCHIVE_INVALID",
    ],
  ];
  test.each(cases)("tags nothing, and leaves no temporary file: %s", async (_, bytes, code) => {
    await using place = await workplace();
    const error = await rejection(place.push(piecesOf(bytes, 4096)));
    expect(error.code as string).toBe(code);
    expect(place.registry.recorded("put-manifest")).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  });

  test("may have two members of one name that are equal", async () => {
    await using place = await workplace();
    await place.push(piecesOf(twice(body), 700));
    expect(await diffIdsAt(place.registry)).toEqual([...image.diffIds]);
  });

  test("ends with the error of who reads it", async () => {
    await using place = await workplace();
    const failure = new Error("the pipe broke");
    for (const bytes of [whole, Bun.gzipSync(whole)]) {
      async function* broken() {
        yield* piecesOf(bytes.subarray(0, 3000), 700);
        throw failure;
      }
      const pushing = place.push(broken());
      expect(await pushing.then(String, (error: unknown) => error)).toBe(failure);
      expect(await place.leftovers()).toEqual([]);
    }
  });
});

describe("a push of a stream", () => {
  test.each([
    ["", (bytes: Bytes) => bytes],
    [" through gzip", (bytes: Bytes) => Bun.gzipSync(bytes)],
  ])("ends with the reason of an interruption while it waits for bytes%s", async (_, pack) => {
    await using place = await workplace();
    const controller = new AbortController();
    const reason = new Error("enough");
    async function* endless() {
      yield* piecesOf(pack(archiveBytes(podman)).subarray(0, 3000), 700);
      controller.abort(reason);
      await new Promise(() => {});
    }
    const pushing = place.push(endless(), { signal: controller.signal });
    expect(await pushing.then(String, (error: unknown) => error)).toBe(reason);
    expect(place.registry.recorded("put-manifest")).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  });

  test("sends a layer before the stream has ended", async () => {
    await using place = await workplace();
    const isThere = Promise.withResolvers<void>();
    async function* waiting() {
      const bytes = archiveBytes(podman);
      yield* piecesOf(bytes.subarray(0, -1024), 700);
      await isThere.promise;
      yield* piecesOf(bytes.subarray(-1024), 700);
    }
    const report = (event: PushEvent) => {
      if (event.type === "blob" && event.state === "done") isThere.resolve();
    };
    await place.push(waiting(), { report });
    expect(await diffIdsAt(place.registry)).toEqual([...image.diffIds]);
  });

  test("fails where a layer that was sent early fails, and tags nothing", async () => {
    const always = Array.from({ length: 50 }, (_, i) => i + 1);
    await using place = await workplace(faultAt("start-upload", always, unavailable));
    const error = await rejection(place.push(streamOf(podman), { retries: 0 }));
    expect(error.code).toBe("REGISTRY_FAILED");
    expect(place.registry.recorded("put-manifest")).toEqual([]);
    expect(await place.leftovers()).toEqual([]);
  });

  test("does not fail for a blob that was sent early, and belongs to no manifest", async () => {
    const stray = blobOf(Bun.gzipSync(seededBytes(3000, 77)));
    const isStray = (url: string) =>
      url.includes(encodeURIComponent(stray.digest)) || url.includes(stray.digest);
    await using place = await workplace((request) =>
      isStray(request.url) ? new Response(null, { status: 400 }) : undefined,
    );
    const { pushed } = await place.push(streamOf({ [stray.path]: stray.bytes, ...layout }), { retries: 0 });
    expect(pushed.digest as string).toBe(packed.root.digest);
  });

  test("counts each byte that was sent once, and all as present when it is repeated", async () => {
    await using place = await workplace();
    const first = await place.push(streamOf(layout));
    const sizes = new Map(
      [blobOf(image.config), ...packed.layers].map(({ digest, bytes }) => [digest, bytes.length]),
    );
    const totalBytes = [...sizes.values()].reduce((sum, each) => sum + each);
    expect(first.pushed).toMatchObject({ sentBytes: totalBytes, presentBytes: 0 });
    const second = await place.push(streamOf(layout));
    expect(second.pushed).toMatchObject({ sentBytes: 0, presentBytes: totalBytes });
  });

  test("reports each blob of the plan until it is done, by its own ID or as another", async () => {
    for (const files of [podman, layout]) {
      await using place = await workplace();
      const { events, blobs, states } = await place.push(streamOf(files));
      expect(states).not.toContain("ready cached");
      const planned = events.flatMap((event) =>
        event.type === "planned" ? event.blobs.map(({ id }) => id) : [],
      );
      const done = new Set(blobs.flatMap((event) => (event.state === "done" ? [event.id] : [])));
      for (const id of planned) {
        const as = blobs.flatMap((event) =>
          event.id === id && event.state === "identified" ? [event.as] : [],
        );
        expect([id, ...as].filter((each) => done.has(each))).toHaveLength(1);
      }
    }
  });
});
