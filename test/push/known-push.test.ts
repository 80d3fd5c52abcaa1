/** Pushes of images whose layers the registry has in part: what they read, make and send, and what they do not. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import * as v from "valibot";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { answering, faultAlways, faultAt } from "../support/faults.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { type ArchivedImage, dockerArchive } from "../support/image-forms.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { TELLS_EVENTS, toldBlobs, toldEvents } from "../support/told-events.ts";

// Whole processes: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const MANIFEST = v.object({
  config: v.object({ digest: v.string() }),
  layers: v.array(v.object({ digest: v.string(), size: v.number() })),
});

const BASE = seededLayer(20_000, 1);
const MIDDLE = seededLayer(9000, 2);
const TOP = seededLayer(700, 3);
const OTHER = seededLayer(800, 4);

const BEFORE = dockerArchive([BASE, MIDDLE, TOP], ["team/app:v1"]);
const AFTER = dockerArchive([BASE, MIDDLE, OTHER], ["team/app:v1"]);

/** Every byte of these layers wrong in the archive, but for the first ones, which tell whether it is compressed. */
function withUnreadable(image: ArchivedImage, ...layers: readonly Uint8Array[]): ArchivedImage {
  const archive = Buffer.from(image.archive);
  for (const raw of layers) {
    const at = archive.indexOf(raw);
    if (at < 0) throw new Error("The archive has no such layer.");
    archive.fill(0xee, at + 16, at + raw.length);
  }
  return { ...image, archive };
}

/** A registry, and pushes to it from one new machine after another: each has a cache of its own, unless it is named. */
async function setUp(options: Partial<StrictRegistryOptions> = {}) {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry(options);
  let machines = 0;
  return {
    registry,
    folder: folder.path,
    async push(
      image: ArchivedImage,
      to = "team/app:v1",
      { cache = `cache-${++machines}`, args = [] as string[] } = {},
    ) {
      await Bun.write(join(folder.path, "output.tar"), image.archive);
      const before = registry.requests.length;
      const target = `${registry.host}/${to}`;
      const result = await runCli(["--cache-dir", cache, ...args, target], {
        cwd: folder.path,
        env: TELLS_EVENTS,
      });
      const requests = registry.requests.slice(before);
      return {
        ...result,
        kinds: requests
          .map(({ kind }) => kind)
          .filter((kind) => kind !== "ping")
          .toSorted(),
        mounts: requests.filter(({ query }) => query.includes("mount=")).map(({ status }) => status),
        made: toldBlobs(result.stderr, "compressed").length,
        kept: await readdir(join(folder.path, cache)),
      };
    },
    async expectPulled(image: ArchivedImage, repository = "team/app", tag = "v1") {
      const manifest = v.parse(
        MANIFEST,
        JSON.parse((await registry.pullManifest(repository, tag)) ?? "null"),
      );
      const config = await registry.pullBlob(repository, manifest.config.digest);
      expect(Buffer.from(config).equals(image.config)).toBe(true);
      const diffIds = manifest.layers.map(async ({ digest, size }) => {
        const blob = await registry.pullBlob(repository, digest);
        expect({ digest: digestOf(blob) as string, size: blob.length }).toEqual({ digest, size });
        return digestOf(blob[0] === 0x1f && blob[1] === 0x8b ? gunzipSync(blob) : blob) as string;
      });
      expect(await Promise.all(diffIds)).toEqual([...image.diffIds]);
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const heads = (count: number) => Array.from({ length: count }, () => "head-blob" as const);

test("a push of the same image again, with its cache, asks one question a blob and sends the manifest", async () => {
  await using site = await setUp();
  await site.push(BEFORE, undefined, { cache: "cache" });
  const second = await site.push(withUnreadable(BEFORE, BASE, MIDDLE, TOP), undefined, { cache: "cache" });
  expect(second).toMatchObject({ code: 0, made: 0 });
  expect(second.kinds).toEqual([...heads(4), "put-manifest"]);
});

test("a push of the same image again, on a new machine, reads, makes and sends nothing of its layers", async () => {
  await using site = await setUp();
  const first = await site.push(BEFORE);
  const args = ["--cache-from", "v1"];
  const second = await site.push(withUnreadable(BEFORE, BASE, MIDDLE, TOP), undefined, { args });
  expect(second).toMatchObject({ code: 0, made: 0, stdout: first.stdout });
  expect(second.kinds.filter((kind) => /upload|patch/.test(kind))).toEqual([]);
  expect(toldBlobs(second.stderr, "sent")).toEqual([]);
  await site.expectPulled(BEFORE);
});

describe("an image at the registry that --cache-from does not name", () => {
  /** Publishes a manifest that pairs the diffID of BASE with the blob of OTHER. */
  async function forge(site: Awaited<ReturnType<typeof setUp>>, tag: string) {
    await site.push(dockerArchive([OTHER, MIDDLE], ["team/app:v1"]), `team/app:${tag}`);
    const evil = v.parse(MANIFEST, JSON.parse((await site.registry.pullManifest("team/app", tag)) ?? ""));
    await site.push(dockerArchive([BASE, MIDDLE], ["team/app:v1"]), `team/app:${tag}`);
    const text = (await site.registry.pullManifest("team/app", tag)) ?? "";
    const forged = JSON.parse(text);
    Object.assign(forged.layers[0], evil.layers[0]);
    const response = await fetch(`${site.registry.url}/v2/team/app/manifests/${tag}`, {
      method: "PUT",
      headers: { "content-type": forged.mediaType },
      body: JSON.stringify(forged),
    });
    expect(response.status, await response.text()).toBe(201);
  }

  test.each(["v1", "latest"])("gives no layer, and is not read: tag %s", async (tag) => {
    await using site = await setUp();
    await forge(site, tag);
    const pushed = await site.push(BEFORE);
    expect(pushed.code, pushed.stderr).toBe(0);
    expect(pushed.kinds).not.toContain("get-manifest");
    await site.expectPulled(BEFORE);
  });
});

describe("a push of an image with one changed layer from a new machine", () => {
  test.each([
    ["--cache-from names a bare tag that has the others", "team/app:latest", "team/app:v2", ["latest"]],
    ["--cache-from has the others", "team/app:main", "team/app:v2", ["team/app:main"]],
    [
      "the second --cache-from has the others",
      "team/app:main",
      "team/app:v2",
      ["team/app:none", "team/app:main"],
    ],
  ])("neither reads nor makes the other layers where %s", async (_, before, after, cacheFrom) => {
    await using site = await setUp();
    await site.push(BEFORE, before);
    const args = cacheFrom.flatMap((image) => [
      "--cache-from",
      image.includes("/") ? `${site.registry.host}/${image}` : image,
    ]);
    const second = await site.push(withUnreadable(AFTER, BASE, MIDDLE), after, { args });
    expect(second.code, second.stderr).toBe(0);
    expect(second.made).toBe(1);
    expect(second.kinds.filter((kind) => kind === "close-upload")).toHaveLength(2);
    // The new layer, and what leads to it.
    expect(second.kept.filter((name) => /^[0-9a-f]{64}(?:-ptr)?$/.test(name))).toHaveLength(2);
    await site.expectPulled(AFTER, "team/app", after.split(":")[1]);
  });

  test("mounts the other layers from another repository", async () => {
    await using site = await setUp();
    await site.push(BEFORE, "team/base:main");
    const args = ["--cache-from", `${site.registry.host}/team/base:main`];
    const second = await site.push(withUnreadable(AFTER, BASE, MIDDLE), "team/app:v1", { args });
    expect(second.code, second.stderr).toBe(0);
    // What is new is asked for as well, and goes up in the upload that the registry begins in place of a mount.
    expect(second.mounts.toSorted()).toEqual([201, 201, 202, 202]);
    expect(second.made).toBe(1);
    expect(toldBlobs(second.stderr, "mounted").map(({ from }) => from)).toEqual(["team/base", "team/base"]);
    await site.expectPulled(AFTER);
  });

  test("makes the other layers where their repository lets nobody mount, and leaves no upload open", async () => {
    const noMount = (request: Request) => new URL(request.url).searchParams.has("mount");
    await using site = await setUp({
      intercept: (request, kind) =>
        kind === "start-upload" && noMount(request) ? new Response(null, { status: 403 }) : undefined,
    });
    await site.push(BEFORE, "team/base:main");
    const args = ["--cache-from", `${site.registry.host}/team/base:main`];
    const second = await site.push(AFTER, "team/app:v1", { args });
    expect(second).toMatchObject({ code: 0, made: 3 });
    await site.expectPulled(AFTER);
  });

  test("makes a layer after all whose blob is gone from the earlier image", async () => {
    const gone = { digest: "" };
    await using site = await setUp({
      intercept: (request, kind) =>
        kind === "head-blob" && gone.digest !== "" && request.url.endsWith(gone.digest)
          ? new Response(null, { status: 404 })
          : undefined,
    });
    await site.push(BEFORE);
    const manifest = v.parse(
      MANIFEST,
      JSON.parse((await site.registry.pullManifest("team/app", "v1")) ?? ""),
    );
    gone.digest = manifest.layers[1]?.digest ?? "";
    const second = await site.push(withUnreadable(AFTER, BASE), undefined, { args: ["--cache-from", "v1"] });
    expect(second.code, second.stderr).toBe(0);
    expect(second.made).toBe(2);
    await site.expectPulled(AFTER);
  });

  test("notices that the archive's own layer is damaged before anything is tagged", async () => {
    await using site = await setUp();
    await site.push(BEFORE);
    const before = await site.registry.pullManifest("team/app", "v1");
    const second = await site.push(withUnreadable(AFTER, OTHER), undefined, { args: ["--cache-from", "v1"] });
    expect(second.code).toBe(1);
    expect(second.stderr).toContain("is damaged");
    expect(await site.registry.pullManifest("team/app", "v1")).toBe(before);
  });
});

describe("a registry that is mistaken about a known layer", () => {
  test("gets the layer sent, and a manifest that names what was sent", async () => {
    await using site = await setUp({ intercept: (...request) => mistaken(...request) });
    const refuse = faultAt("put-manifest", [2], () => {
      const body = JSON.stringify({
        errors: [{ code: "BLOB_UNKNOWN", message: "unknown", detail: named.digest }],
      });
      return new Response(body, { status: 400, headers: { "content-type": "application/json" } });
    });
    const named = { digest: "" };
    const mistaken: typeof refuse = (...request) => refuse(...request);
    await site.push(BEFORE);
    const manifest = v.parse(
      MANIFEST,
      JSON.parse((await site.registry.pullManifest("team/app", "v1")) ?? ""),
    );
    named.digest = manifest.layers[0]?.digest ?? "";
    const second = await site.push(withUnreadable(AFTER, MIDDLE), undefined, {
      args: ["--cache-from", "v1"],
    });
    expect(second.code, second.stderr).toBe(0);
    // The new layer, and the one that was missing; the third was not touched.
    expect(second.made).toBe(2);
    expect(second.kinds.filter((kind) => kind === "put-manifest")).toHaveLength(2);
    await site.expectPulled(AFTER);
  });

  test("gets layers that it knew in another form, and the manifest and the notes name the new form", async () => {
    const foreign = new Uint8Array(Bun.gzipSync(BASE, { level: 1 }));
    const packed = dockerArchive([{ raw: BASE, packed: foreign }, MIDDLE], ["team/app:v1"]);
    let puts = 0;
    await using site = await setUp({
      intercept: (_request, kind) => {
        if (kind !== "put-manifest" || ++puts !== 2) return undefined;
        const body = JSON.stringify({ errors: [{ code: "BLOB_UNKNOWN", message: digestOf(foreign) }] });
        return new Response(body, { status: 400, headers: { "content-type": "application/json" } });
      },
    });
    await site.push(packed);
    const raw = dockerArchive([BASE, MIDDLE], ["team/app:v1"]);
    const second = await site.push(withUnreadable(raw, MIDDLE), undefined, { args: ["--cache-from", "v1"] });
    expect(second.code, second.stderr).toBe(0);
    const manifest = v.parse(
      MANIFEST,
      JSON.parse((await site.registry.pullManifest("team/app", "v1")) ?? ""),
    );
    const [base] = manifest.layers;
    expect(base?.digest).not.toBe(digestOf(foreign));
    await site.expectPulled(raw);
    const places = second.kept.find((name) => name.startsWith("places-")) ?? "";
    const noted = await Bun.file(join(site.folder, "cache-2", places)).text();
    expect(noted).toContain(base?.digest ?? "none");
    expect(noted).not.toContain(digestOf(foreign));
  });
});

describe("a registry that does not let its images be read", () => {
  test.each([401, 403, 404, 405, 500])("with %d, gets all layers", async (status) => {
    await using site = await setUp();
    await site.push(BEFORE);
    await using strict = await setUp({ intercept: faultAlways("get-manifest", answering(status)) });
    const { code, made, stderr } = await strict.push(BEFORE, undefined, { args: ["--cache-from", "v1"] });
    expect(code, stderr).toBe(0);
    expect(made).toBe(3);
  });
});

describe("an index that --cache-from names", () => {
  test("gives the layers of its images of all platforms to a new machine, and mounts them", async () => {
    await using site = await setUp();
    await site.push(BEFORE, "team/base:amd64");
    await site.push(dockerArchive([BASE, OTHER]), "team/base:arm64");
    const children = ["amd64", "arm64"].map(async (tag) => {
      const bytes = new TextEncoder().encode((await site.registry.pullManifest("team/base", tag)) ?? "");
      const mediaType = "application/vnd.oci.image.manifest.v1+json";
      const platform = { os: "linux", architecture: tag };
      return { mediaType, digest: digestOf(bytes), size: bytes.length, platform };
    });
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const index = { schemaVersion: 2, mediaType, manifests: await Promise.all(children) };
    const put = await fetch(`${site.registry.url}/v2/team/base/manifests/main`, {
      method: "PUT",
      headers: { "content-type": mediaType },
      body: JSON.stringify(index),
    });
    expect(put.status).toBe(201);
    const args = ["--cache-from", `${site.registry.host}/team/base:main`];
    const result = await site.push(withUnreadable(AFTER, BASE, MIDDLE, OTHER), "team/app:v1", { args });
    expect(result).toMatchObject({ code: 0, made: 0 });
    // The config is asked for as well.
    expect(result.mounts.toSorted()).toEqual([201, 201, 201, 202]);
    expect(result.stderr).not.toContain("can be reused");
    await site.expectPulled(AFTER);
  });
});

test("an image of --cache-from that is not there is named in a line, and the push makes the layers", async () => {
  await using site = await setUp();
  const result = await site.push(BEFORE, undefined, { args: ["--cache-from", "main"] });
  expect(result).toMatchObject({ code: 0, made: 3 });
  expect(result.stderr.match(/team\/app:main/g)).toHaveLength(1);
  await site.expectPulled(BEFORE);
});

describe("--cache-from", () => {
  test.each<[string, string, string]>([
    ["at another host", "elsewhere.example/team/app:v1", "but the push goes to"],
    ["without a host", "team/app:v1", "--cache-from:"],
    ["empty, as from a variable that is not set", "", "--cache-from is empty"],
    ["in upper case", "registry.example/Team/app:v1", "--cache-from:"],
  ])("%s is a wrong use, before anything is asked", async (_, image, words) => {
    await using site = await setUp();
    const { code, stderr, stdout } = await runCli(
      ["--cache-from", image, `${site.registry.host}/team/app:v1`],
      { cwd: site.folder },
    );
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(words);
    expect(site.registry.requests).toEqual([]);
  });
});

describe("layers that are sent as they are", () => {
  const args = ["--compression", "none"];

  test.each([
    ["in chunks", {}],
    ["in one request", { maxChunkBytes: 100_000_000 }],
  ])("are verified while they are sent, %s: a damaged one is never sent whole", async (_, options) => {
    await using setup = await setUp(options);
    const { code, stderr } = await setup.push(withUnreadable(BEFORE, MIDDLE), "team/app:v1", { args });
    expect(code).toBe(1);
    expect(toldEvents(stderr).at(-1)).toMatchObject({ type: "error", code: "CONTENT_MISMATCH" });
    // None was found wrong by the registry; 0 is a request that was broken off.
    const closed = setup.registry.recorded("close-upload").map(({ status }) => status);
    expect(closed.filter((status) => status !== 201 && status !== 0)).toEqual([]);
    expect(await setup.registry.pullManifest("team/app", "v1")).toBeUndefined();
    // The archive as it should be gets there all the same, whatever was left of the other.
    expect((await setup.push(BEFORE, "team/app:v1", { args })).code).toBe(0);
    await setup.expectPulled(BEFORE);
  });

  test("are not read where the registry has them", async () => {
    await using setup = await setUp();
    expect((await setup.push(BEFORE, "team/app:v1", { args })).code).toBe(0);
    const again = await setup.push(withUnreadable(BEFORE, BASE, MIDDLE, TOP), "team/app:v2", { args });
    expect(again.code).toBe(0);
    expect(again.kinds).not.toContain("start-upload");
  });
});
