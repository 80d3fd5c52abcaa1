/** Pushes of what another registry has: as it is, and no more of it than the target lacks. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { push } from "../../index.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { PushOptions } from "../../src/push/options.ts";
import type { PushEvent } from "../../src/report/events.ts";
import { faultAt } from "../support/faults.ts";
import { rejection } from "../support/rejection.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { basic, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(60_000);

const MIB = 1024 * 1024;
const WIDE = { maxChunkBytes: 16 * MIB };

type Stored = { readonly digest: string; readonly size: number; readonly mediaType: string };

/** Fills a repository as other clients do. */
function writer({ url }: { readonly url: string }, repository: string, authorization?: string) {
  const headers = authorization === undefined ? {} : { authorization };
  async function send(path: string, init: RequestInit): Promise<Response> {
    const response = await fetch(new URL(path, url), { ...init, headers: { ...headers, ...init.headers } });
    if (!response.ok) throw new Error(`${init.method} ${path} answered ${response.status}`);
    return response;
  }
  return {
    async blob(bytes: Uint8Array<ArrayBuffer> | string, mediaType: string): Promise<Stored> {
      const digest = digestOf(bytes);
      const { headers } = await send(`/v2/${repository}/blobs/uploads/`, { method: "POST" });
      const place = new URL(headers.get("location") ?? "", url);
      place.searchParams.set("digest", digest);
      await send(place.href, { method: "PUT", body: bytes });
      return { digest, size: Buffer.byteLength(bytes), mediaType };
    },
    async manifest(value: Readonly<Record<string, unknown>>, tag?: string): Promise<Stored> {
      const mediaType = String(value["mediaType"]);
      // The spaces would not survive if it was written again.
      const text = JSON.stringify({ schemaVersion: 2, ...value }, null, 3);
      const digest = digestOf(text);
      const path = `/v2/${repository}/manifests/${tag ?? digest}`;
      await send(path, { method: "PUT", body: text, headers: { "content-type": mediaType } });
      return { digest, size: text.length, mediaType };
    },
  };
}

const BASE = seededBytes(3 * MIB, 71);
const LAYERS = { amd64: seededBytes(200_000, 72), arm64: seededBytes(300_000, 73) };
const PROVENANCE = '{"_type":"https://in-toto.io/Statement/v0.1"}';

/** Stores an index with two platforms, which share a layer, and an attestation. */
async function storeIndex(registry: TestRegistry, repository = "their/app", authorization?: string) {
  const write = writer(registry, repository, authorization);
  const base = await write.blob(BASE, MEDIA_TYPE.layer.gzip);
  const entries: object[] = [];
  for (const [architecture, bytes] of Object.entries(LAYERS)) {
    const config = await write.blob(JSON.stringify({ os: "linux", architecture }), MEDIA_TYPE.config);
    const layers = [base, await write.blob(bytes, MEDIA_TYPE.layer.gzip)];
    const image = await write.manifest({ mediaType: MEDIA_TYPE.manifest, config, layers });
    entries.push({ ...image, platform: { os: "linux", architecture } });
  }
  const config = await write.blob("{}", MEDIA_TYPE.config);
  const layers = [await write.blob(PROVENANCE, "application/vnd.in-toto+json")];
  const attestation = await write.manifest({ mediaType: MEDIA_TYPE.manifest, config, layers });
  entries.push({ ...attestation, platform: { os: "unknown", architecture: "unknown" } });
  return write.manifest({ mediaType: MEDIA_TYPE.index, manifests: entries }, "v1");
}

type Scene = AsyncDisposable & {
  readonly source: TestRegistry;
  readonly target: TestRegistry;
  readonly events: PushEvent[];
  /** The files in the cache that are no notes. */
  leftBehind(): Promise<string[]>;
  copy(options?: Partial<PushOptions>): ReturnType<typeof push>;
};

async function setUp(
  sourceOptions: Partial<StrictRegistryOptions> = {},
  targetOptions: Partial<StrictRegistryOptions> = {},
): Promise<Scene> {
  const folder = await temporaryFolder();
  const source = await startTestRegistry({ ...WIDE, ...sourceOptions });
  const target = await startTestRegistry({ maxChunkBytes: MIB, ...targetOptions });
  const events: PushEvent[] = [];
  return {
    source,
    target,
    events,
    leftBehind: async () => (await readdir(folder.path)).filter((name) => name.endsWith(".tmp")),
    copy: (options) =>
      push({
        retryDelayMs: 10,
        source: `docker://${source.host}/their/app:v1`,
        target: `${target.host}/my/app:v1`,
        cacheDirectory: folder.path,
        report: (event) => events.push(event),
        ...options,
      }),
    async [Symbol.asyncDispose]() {
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Everything below a manifest, as it is stored. */
async function treeOf(registry: TestRegistry, repository: string, reference: string): Promise<unknown> {
  const text = (await registry.pullManifest(repository, reference)) ?? "";
  const { manifests, config, layers = [] } = JSON.parse(text);
  if (manifests !== undefined)
    return [
      text,
      await Promise.all(manifests.map(({ digest }: Stored) => treeOf(registry, repository, digest))),
    ];
  const blobs = [config, ...layers].map(({ digest }: Stored) => registry.pullBlob(repository, digest));
  return [text, (await Promise.all(blobs)).map(digestOf)];
}

describe("an index at another registry", () => {
  test("is pushed whole, byte for byte, with images and attestations, each blob once", async () => {
    await using scene = await setUp();
    const { source, target } = scene;
    const { digest } = await storeIndex(source);
    expect((await scene.copy()).digest as string).toBe(digest);
    expect(source.recorded("get-blob")).toHaveLength(7);
    expect(await treeOf(target, "my/app", "v1")).toEqual(await treeOf(source, "their/app", "v1"));
    expect(scene.events).toContainEqual(
      expect.objectContaining({
        type: "source",
        origin: expect.objectContaining({ kind: "registry", name: `${source.host}/their/app:v1` }),
        platform: "linux/amd64, linux/arm64",
        layerCount: 3,
        layerBytes: BASE.length + LAYERS.amd64.length + LAYERS.arm64.length,
        isNamedOtherwise: false,
      }),
    );
    expect(await scene.leftBehind()).toEqual([]);
  });

  test("costs nothing but questions where the target has it", async () => {
    await using scene = await setUp();
    await storeIndex(scene.source);
    await scene.copy();
    const asked = scene.source.recorded("get-blob").length;
    expect(await scene.copy({ target: `${scene.target.host}/my/app:v2` })).toMatchObject({ sentBytes: 0 });
    expect(scene.source.recorded("get-blob")).toHaveLength(asked);
  });

  test("is mounted where both repositories are of one registry", async () => {
    await using scene = await setUp();
    const { source } = scene;
    await storeIndex(source);
    const before = source.recorded("close-upload").length;
    const { sentBytes } = await scene.copy({ target: `${source.host}/my/app:v1` });
    expect(sentBytes).toBe(0);
    expect(source.recorded("get-blob")).toEqual([]);
    expect(source.recorded("close-upload")).toHaveLength(before);
    expect(await treeOf(source, "my/app", "v1")).toEqual(await treeOf(source, "their/app", "v1"));
  });

  test("is pushed in part where a platform is named, and the others are not read", async () => {
    await using scene = await setUp();
    const { source, target } = scene;
    await storeIndex(source);
    await scene.copy({ platforms: ["linux/arm64"] });
    expect(source.recorded("get-blob")).toHaveLength(3);
    const manifest = JSON.parse((await target.pullManifest("my/app", "v1")) ?? "");
    expect(manifest.layers.map(({ digest }: Stored) => digest)).toEqual([BASE, LAYERS.arm64].map(digestOf));
    expect(scene.events).toContainEqual(
      expect.objectContaining({ code: "INDEX_REDUCED", platforms: ["linux/amd64"], attestations: 1 }),
    );
    expect(await rejection(scene.copy({ platforms: ["linux/s390x"] }))).toMatchObject({
      code: "IMAGE_NOT_FOUND",
    });
  });

  test("may be named by its digest, which is verified", async () => {
    await using scene = await setUp();
    const { digest } = await storeIndex(scene.source);
    const source = `docker://${scene.source.host}/their/app@${digest}`;
    expect(await scene.copy({ source, target: `${scene.target.host}/my/app@${digest}` })).toMatchObject({
      digest,
    });
    const other = `${scene.target.host}/my/app@${digestOf("another")}`;
    expect(await rejection(scene.copy({ target: other }))).toMatchObject({ code: "CONTENT_MISMATCH" });
  });

  test("is sent again where the target is wrong about what it has", async () => {
    const sizes = new Map<string, number>();
    const intercept: Intercept = (request, kind) => {
      const size = sizes.get(new URL(request.url).pathname.split("/").at(-1) ?? "");
      if (kind !== "head-blob" || size === undefined) return undefined;
      return new Response(null, { headers: { "content-length": `${size}` } });
    };
    await using scene = await setUp({}, { intercept });
    const { source, target } = scene;
    await storeIndex(source);
    sizes.set(digestOf(BASE), BASE.length);
    sizes.set(digestOf(PROVENANCE), PROVENANCE.length);
    await scene.copy();
    expect(await treeOf(target, "my/app", "v1")).toEqual(await treeOf(source, "their/app", "v1"));
    expect(await scene.leftBehind()).toEqual([]);
  });
});

describe("an image at another registry", () => {
  test("is pushed only if it is for the platform that is wanted", async () => {
    await using scene = await setUp();
    const { source } = scene;
    const write = writer(source, "their/app");
    const image = { os: "linux", architecture: "arm64", rootfs: { diff_ids: [] } };
    const config = await write.blob(JSON.stringify(image), MEDIA_TYPE.config);
    const mediaType = MEDIA_TYPE.manifest;
    const { digest } = await write.manifest({ mediaType, config, layers: [] }, "v1");
    expect(await rejection(scene.copy({ platforms: ["linux/amd64"] }))).toMatchObject({
      code: "IMAGE_NOT_FOUND",
    });
    expect(await scene.target.pullManifest("my/app", "v1")).toBeUndefined();
    expect((await scene.copy({ platforms: ["linux/arm64"] })).digest as string).toBe(digest);
  });
});

describe("an artifact at another registry", () => {
  test("is pushed as it is", async () => {
    await using scene = await setUp();
    const { source, target } = scene;
    const write = writer(source, "their/app");
    const config = await write.blob("{}", "application/vnd.cncf.helm.config.v1+json");
    const layers = [await write.blob("a chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")];
    const mediaType = MEDIA_TYPE.manifest;
    const { digest } = await write.manifest({ mediaType, artifactType: "a/b", config, layers }, "v1");
    expect((await scene.copy()).digest as string).toBe(digest);
    expect(await treeOf(target, "my/app", "v1")).toEqual(await treeOf(source, "their/app", "v1"));
  });
});

describe("a registry as source", () => {
  test("whose connection breaks, at any request, is asked again", async () => {
    const kinds = ["ping", "get-manifest", "get-blob"] as const;
    for (const kind of kinds) {
      await using scene = await setUp({ intercept: faultAt(kind, [1], () => "drop") });
      const { source, target } = scene;
      await storeIndex(source);
      await scene.copy();
      expect(await treeOf(target, "my/app", "v1")).toEqual(await treeOf(source, "their/app", "v1"));
    }
  });

  test("that gives out other bytes gets nothing tagged, and no upload of them completed", async () => {
    const wrong = BASE.slice();
    wrong.set([~(wrong.at(-1) ?? 0)], wrong.length - 1);
    const intercept: Intercept = (request, kind) =>
      kind === "get-blob" && request.url.endsWith(digestOf(BASE)) ? new Response(wrong) : undefined;
    await using scene = await setUp({ intercept });
    await storeIndex(scene.source);
    expect(await rejection(scene.copy())).toMatchObject({ code: "CONTENT_MISMATCH" });
    expect(await scene.target.pullManifest("my/app", "v1")).toBeUndefined();
    expect(scene.target.recorded("put-manifest")).toEqual([]);
    const closed = scene.target.recorded("close-upload").map(({ query }) => query);
    expect(closed.some((query) => query.includes(digestOf(BASE)))).toBe(false);
    expect(await scene.leftBehind()).toEqual([]);
  });

  test("that fails for good ends the push, which does not blame the target", async () => {
    const intercept: Intercept = (request, kind) =>
      kind === "get-blob" && request.url.endsWith(digestOf(BASE))
        ? new Response("", { status: 503 })
        : undefined;
    await using scene = await setUp({ intercept });
    await storeIndex(scene.source);
    const failed = await rejection(scene.copy({ retries: 1 }));
    expect(failed.message).toContain(scene.source.url);
    expect(scene.events.filter(({ type }) => type === "retry")).toHaveLength(1);
    expect(await scene.target.pullManifest("my/app", "v1")).toBeUndefined();
    expect(await scene.leftBehind()).toEqual([]);
  });

  test("that has no such image says so", async () => {
    await using scene = await setUp();
    expect(await rejection(scene.copy())).toMatchObject({ code: "IMAGE_NOT_FOUND" });
  });

  const CREDENTIALS = { username: "them", password: "password of the source" };
  const OWN = { username: "me", password: "password of the target" };

  test("gets its own login, and nothing that is the target's", async () => {
    const seen: string[] = [];
    const intercept: Intercept = ({ headers }) => {
      seen.push(`${headers.get("authorization")} ${headers.get("x-gate")}`);
      return undefined;
    };
    await using scene = await setUp({ credentials: CREDENTIALS, intercept }, { credentials: OWN });
    const { source, target } = scene;
    const authorization = basic(CREDENTIALS.username, CREDENTIALS.password);
    await storeIndex(source, "their/app", authorization);
    seen.length = 0;
    const headers = { "x-gate": "header of the target" };
    const asked: string[] = [];
    await scene.copy({
      headers,
      login: async ({ host, repository }) => {
        asked.push(`${host}/${repository}`);
        return { credentials: host === target.host ? OWN : CREDENTIALS };
      },
    });
    expect(asked).toEqual([`${target.host}/my/app`, `${source.host}/their/app`]);
    expect(new Set(seen)).toEqual(new Set([`${authorization} null`]));
    expect(scene.events).toContainEqual(
      expect.objectContaining({ type: "registry", isSource: true, origin: source.url, username: "them" }),
    );
    seen.length = 0;
    expect(await rejection(scene.copy({ headers, login: { credentials: OWN } }))).toMatchObject({
      code: "UNAUTHORIZED",
      hint: expect.stringContaining(`chunkpush login ${source.host}`),
    });
    expect(new Set(seen)).toEqual(new Set(["null null"]));
  });

  test("that gives everybody a token to read is asked for no other right", async () => {
    await using tokens = startTokenServer({
      grant: ({ actions }) => actions.filter((each) => each === "pull"),
    });
    await using scene = await setUp({ tokens });
    const { source, target } = scene;
    await storeIndex(source, "their/app", `Bearer ${tokens.issue(["repository:their/app:pull,push"])}`);
    await scene.copy();
    expect(tokens.requests.map(({ scopes }) => scopes)).toEqual([["repository:their/app:pull"]]);
    expect(await target.pullManifest("my/app", "v1")).toBeDefined();
  });

  test("is asked with the target's login where it is the same one", async () => {
    await using scene = await setUp({ credentials: OWN });
    const { source } = scene;
    await storeIndex(source, "their/app", basic(OWN.username, OWN.password));
    const target = `${source.host}/my/app:v1`;
    expect(await scene.copy({ target, login: { credentials: OWN } })).toMatchObject({ sentBytes: 0 });
  });

  test("is not asked to choose or to compress", async () => {
    await using scene = await setUp();
    for (const options of [{ image: "their/app:v1" }, { forceCompression: true }])
      expect(await rejection(scene.copy(options))).toMatchObject({ code: "USAGE" });
  });

  test("is named on the command line", async () => {
    await using scene = await setUp();
    const { source, target } = scene;
    const { digest } = await storeIndex(source);
    await using folder = await temporaryFolder();
    const args = [`docker://${source.host}/their/app:v1`, `${target.host}/my/app:v1`];
    const { code, stdout, stderr } = await runCli(args, { cwd: folder.path });
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${target.host}/my/app:v1@${digest}\n` });
    expect(stderr).toContain(
      `Source: ${source.host}/their/app:v1 (registry): linux/amd64, linux/arm64, 3 layers`,
    );
    const wrong = await runCli(["docker://their/app:v1", args[1] ?? ""], { cwd: folder.path });
    expect(wrong.code).toBe(2);
  });
});
