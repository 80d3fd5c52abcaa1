import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import * as v from "valibot";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { push } from "../../index.ts";
import { PushError } from "../../src/errors.ts";
import { digestOf, hexOf } from "../../src/oci/digest.ts";
import type { PushEvent } from "../../src/report/events.ts";
import { answering, faultAlways, faultAt, unavailable } from "../support/faults.ts";
import type { FixtureLayer } from "../support/image-fixture.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { type ArchivedImage, dockerArchive } from "../support/image-forms.ts";
import { rejection } from "../support/rejection.ts";
import { type CliOptions, runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";
import { TELLS_EVENTS, toldBlobs } from "../support/told-events.ts";
import { startWatchedPush } from "../support/watched-push.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const MANIFEST = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.literal("application/vnd.oci.image.manifest.v1+json"),
  config: v.object({ mediaType: v.string(), digest: v.string(), size: v.number() }),
  layers: v.array(v.object({ mediaType: v.string(), digest: v.string(), size: v.number() })),
});

/** A layer of so many bytes that do not compress, as a tar. */
const SMALL = seededLayer(500, 1);
const LARGE = seededLayer(200_000, 2);
const OTHER = seededLayer(700, 3);
const GZIPPED = { raw: seededLayer(9_000, 4), packed: new Uint8Array(gzipSync(seededLayer(9_000, 4))) };
const ZSTD = { raw: seededLayer(800, 5), packed: new Uint8Array(zstdCompressSync(seededLayer(800, 5))) };

type Setup = AsyncDisposable & {
  readonly registry: TestRegistry;
  readonly folder: string;
  readonly target: string;
  run(options?: Partial<CliOptions> & { args?: string[]; target?: string }): ReturnType<typeof runCli>;
  cached(): Promise<string[]>;
};

/** A registry, and a folder with an image in output.tar to push there. */
async function setUp(image: ArchivedImage, options: Partial<StrictRegistryOptions> = {}): Promise<Setup> {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry(options);
  await Bun.write(join(folder.path, "output.tar"), image.archive);
  const target = `${registry.host}/team/app:v1`;
  return {
    registry,
    folder: folder.path,
    target,
    run: ({ args = [], target: otherTarget, ...cli } = {}) =>
      runCli([...args, otherTarget ?? target], { cwd: folder.path, ...cli }),
    cached: () => readdir(join(folder.path, ".cache")),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function withMore(bytes: Uint8Array, more: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat([bytes, more]));
}

/** The image that is tagged, each of its bytes checked against what was pushed. */
async function expectPulled(registry: TestRegistry, image: ArchivedImage, tag = "v1") {
  const text = await registry.pullManifest("team/app", tag);
  if (text === undefined) throw new Error("Nothing is tagged.");
  const manifest = v.parse(MANIFEST, JSON.parse(text));
  const config = await registry.pullBlob("team/app", manifest.config.digest);
  expect(Buffer.from(config).equals(image.config)).toBe(true);
  expect(manifest.config.size).toBe(image.config.length);
  const pulled: string[] = [];
  for (const { digest, size, mediaType } of manifest.layers) {
    const blob = await registry.pullBlob("team/app", digest);
    expect(digestOf(blob) as string).toBe(digest);
    expect(blob.length).toBe(size);
    pulled.push(digestOf(mediaType.endsWith("+zstd") ? zstdDecompressSync(blob) : gunzipSync(blob)));
  }
  expect(pulled).toEqual([...image.diffIds]);
  return { manifest, digest: digestOf(new TextEncoder().encode(text)) };
}

async function expectNothingTagged({ registry }: Setup): Promise<void> {
  expect(registry.recorded("put-manifest")).toEqual([]);
  expect(await registry.pullManifest("team/app", "v1")).toBeUndefined();
}

describe("a push", () => {
  test("brings every kind of layer, in order, and says what it tagged", async () => {
    const image = dockerArchive([SMALL, LARGE, GZIPPED, SMALL, ZSTD, new Uint8Array()], ["team/app:v1"]);
    await using setup = await setUp(image);
    const { code, stdout, stderr } = await setup.run();
    expect(stderr).not.toContain("Error");
    expect(setup.registry.requests.at(-1)?.kind).toBe("put-manifest");
    const { manifest, digest } = await expectPulled(setup.registry, image);
    expect(stdout).toBe(`${setup.target}@${digest}\n`);
    expect(code).toBe(0);

    // What was compressed already goes up as it is.
    expect(manifest.layers[2]?.digest).toBe(digestOf(GZIPPED.packed));
    expect(manifest.layers[4]).toMatchObject({
      digest: digestOf(ZSTD.packed) as string,
      mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
    });
    // Equal layers are asked for and go up once.
    expect(setup.registry.recorded("head-blob")).toHaveLength(6);
    expect(manifest.layers[3]?.digest).toBe(manifest.layers[0]?.digest ?? "");
    const closed = setup.registry.recorded("close-upload").map(({ query }) => /digest=(.*)/.exec(query)?.[1]);
    expect(closed).toHaveLength(6);
    expect(new Set(closed).size).toBe(6);
    expect(setup.registry.recorded("patch").length).toBeGreaterThan(2);
    expect((await setup.cached()).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("shows names from an archive without letting them steer a terminal or a CI system", async () => {
    const name = `a\x1b[2J\u202e\n::error::${"x".repeat(300)}`;
    const image = dockerArchive([SMALL], [name, ...Array.from({ length: 5000 }, (_, i) => `n${i}`)]);
    await using setup = await setUp(image);
    const { code, stderr } = await setup.run();
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`a\\x1b[2J\\u{202e}\\x0a::error::${"x".repeat(240)}…, n0, `);
    expect(stderr).toContain(", and 4991 more");
    expect(stderr.split("\n").filter((line) => line.trimStart().startsWith("::"))).toEqual([]);
    expect(stderr.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test("of an image without layers tags a manifest without layers", async () => {
    const image = dockerArchive([]);
    await using setup = await setUp(image);
    expect((await setup.run()).code).toBe(0);
    expect((await expectPulled(setup.registry, image)).manifest.layers).toEqual([]);
  });

  test("that is repeated compresses and sends nothing", async () => {
    const image = dockerArchive([SMALL, LARGE, GZIPPED]);
    await using setup = await setUp(image);
    const first = await setup.run();
    const before = setup.registry.requests.length;
    const cached = await setup.cached();
    const { code, stdout, stderr } = await setup.run();
    expect(code).toBe(0);
    expect(stdout).toBe(first.stdout);
    const kinds = setup.registry.requests.slice(before).map(({ kind }) => kind);
    expect(kinds.toSorted()).toEqual([
      "head-blob",
      "head-blob",
      "head-blob",
      "head-blob",
      "ping",
      "put-manifest",
    ]);
    expect(stderr).toContain("nothing to send");
    expect(await setup.cached()).toEqual(cached);
  });

  test("has the same bytes from another machine, and so sends nothing", async () => {
    const image = dockerArchive([SMALL, LARGE]);
    await using setup = await setUp(image);
    const first = await setup.run();
    const before = setup.registry.requests.length;
    const second = await setup.run({ args: ["--cache-dir", "other"] });
    expect(second.stdout).toBe(first.stdout);
    expect(setup.registry.requests.slice(before).map(({ method }) => method)).not.toContain("POST");
  });

  test("over another image's tag replaces it", async () => {
    const [before, after] = [dockerArchive([SMALL]), dockerArchive([OTHER])];
    await using setup = await setUp(before);
    await setup.run();
    await Bun.write(join(setup.folder, "output.tar"), after.archive);
    expect((await setup.run()).code).toBe(0);
    await expectPulled(setup.registry, after);
  });

  test("is not stopped by a fault that passes, and says so", async () => {
    const image = dockerArchive([LARGE]);
    await using setup = await setUp(image, { intercept: faultAt("patch", [2], unavailable) });
    const { code, stderr } = await setup.run();
    expect(code).toBe(0);
    expect(stderr).toMatch(/retry 1\/8 in .* [0-9a-f]{12} at .*: 503/);
    await expectPulled(setup.registry, image);
  });

  test("to a target without a tag goes to latest", async () => {
    const image = dockerArchive([SMALL]);
    await using setup = await setUp(image);
    const { stdout } = await setup.run({ target: `${setup.registry.host}/team/app` });
    expect(stdout).toStartWith(`${setup.registry.host}/team/app:latest@sha256:`);
    await expectPulled(setup.registry, image, "latest");
  });

  test("to a digest publishes what has it, under the digest alone, or under the tag in front of it", async () => {
    const image = dockerArchive([SMALL]);
    await using setup = await setUp(image);
    const { stdout } = await setup.run();
    const digest = stdout.trim().slice(-71);
    for (const tag of ["", ":v2"]) {
      const pushed = await setup.run({ target: `${setup.registry.host}/team/app${tag}@${digest}` });
      expect(pushed.stdout).toBe(`${setup.registry.host}/team/app${tag}@${digest}\n`);
      const [put] = setup.registry.recorded("put-manifest").slice(-1);
      expect(put?.path).toEndWith(tag === "" ? digest : "v2");
    }
    await expectPulled(setup.registry, image, "v2");
  });

  test.each(["", ":v1"])("to team/app%s at another digest publishes nothing", async (tag) => {
    await using setup = await setUp(dockerArchive([SMALL]));
    const digest = digestOf("another image");
    const target = `${setup.registry.host}/team/app${tag}@${digest}`;
    const [source, cacheDirectory] = [join(setup.folder, "output.tar"), join(setup.folder, ".cache")];
    const error = await rejection(push({ source, target, cacheDirectory }));
    expect(error.code).toBe("CONTENT_MISMATCH");
    await expectNothingTagged(setup);
  });

  test.each([
    ["http://", {}],
    ["", { INSECURE_HTTP_PUSH: "true" }],
  ])("reaches localhost with %j in front and %j", async (prefix, env) => {
    const image = dockerArchive([SMALL]);
    await using setup = await setUp(image);
    const host = setup.registry.host.replace("127.0.0.1", "localhost");
    const { stdout } = await setup.run({ target: `${prefix}${host}/team/app:v1`, env });
    expect(stdout).toMatch(new RegExp(`^${host}/team/app:v1@sha256:[0-9a-f]{64}\n$`));
    await expectPulled(setup.registry, image);
  });

  // Through a proxy a name is enough: nobody has to know it.
  test.each(["registry.invalid", "registry.invalid:80"])("sends the credentials to %s", async (host) => {
    const image = dockerArchive([SMALL]);
    await using setup = await setUp(image, { credentials: { username: "me", password: "hush" } });
    const { code, stdout, stderr } = await setup.run({
      target: `${host}/team/app:v1`,
      env: { INSECURE_HTTP_PUSH: "true", HTTP_PROXY: setup.registry.url, USERNAME_REGISTRY: "me" },
      input: "hush\n",
    });
    expect(stderr).toContain("Warning: credentials are sent over plain HTTP");
    expect(stdout).toStartWith(`${host}/team/app:v1@sha256:`);
    expect(code).toBe(0);
    expect(setup.registry.requests.map(({ status }) => status)).not.toContain(401);
  });
});

test("a registry on this machine is not looked for behind a proxy", async () => {
  const image = dockerArchive([SMALL]);
  await using setup = await setUp(image);
  for (const [name, proxy] of [
    ["HTTP_PROXY", "http://127.0.0.1:1"],
    ["http_proxy", "http://127.0.0.1:1"],
  ] as const) {
    const { code, stderr } = await setup.run({ env: { [name]: proxy } });
    expect(code, stderr).toBe(0);
  }
  await expectPulled(setup.registry, image);
});

describe("nothing is tagged", () => {
  test.each([
    ["a blob is refused for good", "close-upload", 403],
    ["a chunk is refused for good", "patch", 400],
    ["an upload cannot begin", "start-upload", 405],
  ] as const)("where %s", async (_, kind, status) => {
    await using setup = await setUp(dockerArchive([SMALL, LARGE, OTHER]), {
      intercept: faultAt(kind, [2], answering(status)),
    });
    const { code, stdout, stderr } = await setup.run();
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(`answered ${status}`);
    expect((await setup.cached()).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await expectNothingTagged(setup);
  });

  test("where one blob is refused, whose failure ends the others at once", async () => {
    let count = 0;
    await using setup = await setUp(dockerArchive([SMALL, OTHER]), {
      intercept: (_, kind) => {
        if (kind !== "close-upload") return undefined;
        return ++count === 1 ? new Promise(() => {}) : new Response(null, { status: 403 });
      },
    });
    const { code, stderr } = await setup.run();
    expect(code).toBe(1);
    expect(stderr).toContain("answered 403");
    await expectNothingTagged(setup);
  });

  test("where retries run out", async () => {
    await using setup = await setUp(dockerArchive([SMALL, LARGE, OTHER]), {
      intercept: (_, kind) => (kind === "patch" ? new Response(null, { status: 503 }) : undefined),
    });
    const { code, stderr } = await setup.run({ env: { MAX_RETRIES: "0" } });
    expect(code).toBe(1);
    expect(stderr).toContain("answered 503");
    expect(stderr).not.toContain("retry");
    await expectNothingTagged(setup);
  });

  test.each<[string, FixtureLayer]>([
    ["a raw layer", { raw: LARGE, packed: LARGE.with(9000, 0) }],
    ["a compressed layer that unpacks to something else", { raw: LARGE, packed: GZIPPED.packed }],
    ["a compressed layer cut short", { ...GZIPPED, packed: GZIPPED.packed.subarray(0, 5000) }],
    [
      "a layer with zeros after its gzip",
      { ...GZIPPED, packed: withMore(GZIPPED.packed, new Uint8Array(512)) },
    ],
    ["a layer with zeros after its zstd", { ...ZSTD, packed: withMore(ZSTD.packed, new Uint8Array(512)) }],
    [
      "a zstd layer cut short by a byte",
      { ...ZSTD, packed: withMore(ZSTD.packed, ZSTD.packed.slice(0, -1)) },
    ],
  ])("where %s is damaged", async (_, damaged) => {
    await using setup = await setUp(dockerArchive([SMALL, damaged]));
    const { code, stderr } = await setup.run();
    expect(code).toBe(1);
    expect(stderr).toMatch(/the layer "[0-9a-f]{64}\/layer.tar" is damaged/);
    expect(stderr).toContain("Save the image again.");
    expect((await setup.cached()).filter((name) => name.includes(".tmp"))).toEqual([]);
    await expectNothingTagged(setup);
  });

  test("where the registry goes on missing a blob, which it says that it has", async () => {
    const body = JSON.stringify({ errors: [{ code: "BLOB_UNKNOWN", message: "unknown blob" }] });
    const mistaken = faultAt("head-blob", [2], answering(200));
    const missing = faultAlways("put-manifest", answering(400, { "content-type": "application/json" }, body));
    await using setup = await setUp(dockerArchive([SMALL, LARGE]), {
      intercept: (...request) => mistaken(...request) ?? missing(...request),
    });
    const { code, stderr } = await setup.run();
    expect(code).toBe(1);
    expect(stderr).toContain("BLOB_UNKNOWN");
    // Once more for the blob that it was believed to have, and no more.
    expect(setup.registry.recorded("put-manifest")).toHaveLength(2);
    expect(await setup.registry.pullManifest("team/app", "v1")).toBeUndefined();
  });
});

describe("a registry that is mistaken about what it has", () => {
  test.each([1, 2, 3])("gets the blob sent: HEAD %d", async (number) => {
    const image = dockerArchive([SMALL, LARGE]);
    await using setup = await setUp(image, { intercept: faultAt("head-blob", [number], answering(200)) });
    const { code } = await setup.run();
    expect(code).toBe(0);
    await expectPulled(setup.registry, image);
    expect(setup.registry.recorded("put-manifest").map(({ status }) => status)).toEqual([400, 201]);
  });
});

describe("a registry that has lost blobs when the manifest comes", () => {
  const image = dockerArchive([SMALL, LARGE, OTHER]);

  /** Loses the blobs with these sizes before the first manifest, as a garbage collection does. */
  async function setUpLosing(isLost: (sizeBytes: number) => boolean) {
    let folder = "";
    const lose: Intercept = async () => {
      const blobs = join(folder, "objects", "team", "app", "_blobs");
      for (const name of await readdir(blobs)) {
        const file = Bun.file(join(blobs, name));
        if (isLost(file.size)) await file.delete();
      }
      return undefined;
    };
    const setup = await setUp(image, { intercept: faultAt("put-manifest", [1], lose) });
    folder = setup.registry.directory;
    return setup;
  }

  test.each<[string, (sizeBytes: number) => boolean, number]>([
    ["a layer", (size) => size > 100_000, 1],
    ["each blob", () => true, 4],
  ])("gets %s once more, and no other", async (_, isLost, count) => {
    await using setup = await setUpLosing(isLost);
    const { code, stderr } = await setup.run();
    expect(code, stderr).toBe(0);
    await expectPulled(setup.registry, image);
    expect(setup.registry.recorded("start-upload")).toHaveLength(4 + count);
    // It names the first one that it lacks.
    expect(setup.registry.recorded("put-manifest")).toHaveLength(1 + count);
  });

  test("gets each blob once more, and not for ever", async () => {
    const digests: string[] = [];
    await using setup = await setUp(image, {
      intercept: async (request, kind) => {
        if (kind === "close-upload") digests.push(new URL(request.url).searchParams.get("digest") ?? "");
        if (kind !== "put-manifest") return undefined;
        const body = JSON.stringify({ errors: [{ code: "BLOB_UNKNOWN", message: digests.join() }] });
        return new Response(body, { status: 400, headers: { "content-type": "application/json" } });
      },
    });
    const { code, stderr } = await setup.run();
    expect(code).toBe(1);
    expect(stderr).toContain("BLOB_UNKNOWN");
    expect(setup.registry.recorded("start-upload")).toHaveLength(8);
    expect(setup.registry.recorded("put-manifest")).toHaveLength(2);
  });
});

describe("a damaged cache", () => {
  const image = dockerArchive([LARGE]);
  const pointerPath = join(".cache", `${hexOf(digestOf(LARGE))}-ptr`);

  /** A cache that a push has filled, and the blob in it. */
  async function filledCache(setup: Setup): Promise<string> {
    expect((await setup.run()).code).toBe(0);
    const pointer = join(setup.folder, pointerPath);
    return join(setup.folder, ".cache", (await Bun.file(pointer).text()).trim());
  }

  test.each<[string, (blob: string) => Promise<unknown>]>([
    [
      "with a wrong byte",
      async (blob) => {
        const bytes = await Bun.file(blob).bytes();
        await Bun.write(blob, bytes.with(5000, (bytes[5000] ?? 0) ^ 1));
      },
    ],
    ["that is cut short", (blob) => truncate(blob, 5000)],
    ["that is empty", (blob) => truncate(blob, 0)],
    ["that is gone", (blob) => Bun.file(blob).delete()],
  ])("does no harm to a push elsewhere: a blob %s", async (_, damage) => {
    await using setup = await setUp(image);
    const blob = await filledCache(setup);
    const healthy = await Bun.file(blob).bytes();
    await damage(blob);
    await using elsewhere = await startTestRegistry();
    expect((await setup.run({ target: `${elsewhere.host}/team/app:v1` })).code).toBe(0);
    await expectPulled(elsewhere, image);
    expect(await Bun.file(blob).bytes()).toEqual(healthy);
  });

  test("is compressed anew where the registry finds it wrong", async () => {
    const folder = { path: "" };
    const damage: Intercept = async () => {
      // After it was checked, and before its last bytes are read.
      const blob = join(folder.path, ".cache", await Bun.file(join(folder.path, pointerPath)).text());
      const bytes = await Bun.file(blob).bytes();
      await Bun.write(blob, bytes.fill(7, -100));
      return undefined;
    };
    await using setup = await setUp(image, { intercept: faultAt("patch", [1], damage) });
    folder.path = setup.folder;
    const { code, stderr } = await setup.run({ env: TELLS_EVENTS });
    expect(toldBlobs(stderr, "compressed")).toHaveLength(2);
    expect(code).toBe(0);
    await expectPulled(setup.registry, image);
  });

  test.each(["", "nonsense", "0".repeat(64), "../../etc/passwd"])(
    "does no harm: a pointer to %j",
    async (text) => {
      await using setup = await setUp(image);
      await filledCache(setup);
      await Bun.write(join(setup.folder, pointerPath), text);
      expect((await setup.run()).code).toBe(0);
      await expectPulled(setup.registry, image);
    },
  );

  test("does no harm where the registry has the blob", async () => {
    await using setup = await setUp(image);
    await truncate(await filledCache(setup), 5000);
    expect((await setup.run()).code).toBe(0);
    await expectPulled(setup.registry, image);
  });
});

describe("uploads at a time", () => {
  const image = dockerArchive([SMALL, LARGE, OTHER, GZIPPED, ZSTD]);
  const UPLOADING = ["start-upload", "patch", "close-upload"];

  test("are three, and no more", async () => {
    const { promise: full, resolve } = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    await using setup = await setUp(image, {
      intercept: async (_, kind, answer) => {
        if (!UPLOADING.includes(kind)) return undefined;
        most = Math.max(most, ++running);
        if (running === 3) resolve();
        // Nobody is answered before three are under way.
        await full;
        const response = await answer();
        running--;
        return response;
      },
    });
    expect((await setup.run()).code).toBe(0);
    expect(most).toBe(3);
  });

  test.each([
    ["MAX_PARALLEL_LAYERS=1", { env: { MAX_PARALLEL_LAYERS: "1" } }],
    ["--parallel 1", { args: ["--parallel", "1"], env: { MAX_PARALLEL_LAYERS: "5" } }],
  ])("is one with %s", async (_, options) => {
    let running = 0;
    let most = 0;
    await using setup = await setUp(image, {
      intercept: async (_request, kind, answer) => {
        if (!UPLOADING.includes(kind)) return undefined;
        most = Math.max(most, ++running);
        // Long enough for another one to come in, if it were let.
        await new Promise((resolve) => setImmediate(resolve));
        const response = await answer();
        running--;
        return response;
      },
    });
    expect((await setup.run(options)).code).toBe(0);
    expect(most).toBe(1);
    await expectPulled(setup.registry, image);
  });
});

describe("an interruption", () => {
  /** Sends a signal to a push when its first chunk is at the registry, which then waits. */
  async function signalled(signal: NodeJS.Signals, answers: Promise<unknown>) {
    const image = dockerArchive([SMALL, LARGE]);
    const { promise: uploading, resolve } = Promise.withResolvers<void>();
    const setup = await setUp(image, {
      intercept: faultAt("patch", [1], async () => {
        resolve();
        await answers;
        return undefined;
      }),
    });
    const child = startWatchedPush([setup.target], { cwd: setup.folder });
    await uploading;
    process.kill(child.pid, signal);
    await child.says("Ctrl-C again to stop now.");
    return { image, setup, child };
  }

  test("lets the running chunk end, says what was kept, and the same command sends the rest alone", async () => {
    const { promise: answers, resolve: answer } = Promise.withResolvers<void>();
    const { image, setup, child } = await signalled("SIGINT", answers);
    await using _setup = setup;
    answer();
    const { code, stdout, stderr } = await child.ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
    // The small layer may be there, too.
    expect(stderr).toMatch(
      /^Interrupted: 6[56]\b.* kB are safe at the registry\.\n {2}Run the same command to resume\.$/m,
    );
    const { registry } = setup;
    expect(registry.recorded("patch").map(({ status }) => status)).toEqual([202]);
    expect((await setup.cached()).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await expectNothingTagged(setup);

    expect((await setup.run()).code).toBe(0);
    const { manifest } = await expectPulled(registry, image);
    const sentBytes = registry.recorded("patch").reduce((bytes, { bodyBytes }) => bytes + bodyBytes, 0);
    expect(sentBytes).toBe(manifest.layers[1]?.size ?? 0);
  });

  test.each([
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("by %s twice ends at once, with exit code %d", async (signal, exitCode) => {
    const { image, setup, child } = await signalled(signal, new Promise(() => {}));
    await using _setup = setup;
    process.kill(child.pid, signal);
    const { code, stdout, stderr } = await child.ended;
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
    expect(stderr).not.toContain("bug");
    await expectNothingTagged(setup);

    expect((await setup.run()).code).toBe(0);
    await expectPulled(setup.registry, image);
  });

  test.each([
    ["SIGHUP", 129],
    ["SIGTERM", 143],
  ] as const)(
    "by %s once ends with exit code %d when the running chunk is done",
    async (signal, exitCode) => {
      const { promise: answers, resolve: answer } = Promise.withResolvers<void>();
      const { setup, child } = await signalled(signal, answers);
      await using _setup = setup;
      answer();
      const { code, stdout } = await child.ended;
      expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
    },
  );

  test("while the engine is asked ends its command as well", async () => {
    await using setup = await setUp(dockerArchive([SMALL]));
    await using bin = await temporaryFolder();
    const docker = join(bin.path, "docker");
    await Bun.write(docker, '#!/bin/sh\n[ "$1" = image ] && kill -INT $PPID\nexit 130\n');
    await chmod(docker, 0o755);
    const env = { PATH: `${bin.path}:${process.env["PATH"] ?? ""}` };
    const { code, stderr } = await setup.run({ args: ["team/app:v1"], env });
    expect(stderr).toContain("Interrupted");
    expect(code).toBe(130);
  });

  /** Pushes until an event asks for an interruption. */
  async function interruptAt(setup: Setup, isTime: (event: PushEvent) => boolean): Promise<PushError> {
    const interrupt = new AbortController();
    const work = push({
      source: join(setup.folder, "output.tar"),
      target: setup.target,
      cacheDirectory: join(setup.folder, ".cache"),
      signal: interrupt.signal,
      report(event) {
        if (isTime(event)) interrupt.abort(new PushError("INTERRUPTED", "Stop."));
      },
    });
    return rejection(work);
  }

  test("while a layer is compressed leaves no temporary file", async () => {
    await using setup = await setUp(dockerArchive([seededLayer(5_000_000, 9)]));
    const error = await interruptAt(
      setup,
      (event) => event.type === "blob" && event.state === "compressing" && event.doneBytes > 0,
    );
    expect(error.code).toBe("INTERRUPTED");
    expect((await setup.cached()).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    await expectNothingTagged(setup);
  });

  test("while a compressed layer is unpacked to check it leaves no temporary file", async () => {
    // Little to read, and much to unpack.
    const raw = new Uint8Array(50_000_000);
    await using setup = await setUp(dockerArchive([{ raw, packed: new Uint8Array(gzipSync(raw)) }]));
    const error = await interruptAt(
      setup,
      (event) => event.type === "blob" && event.state === "verifying" && event.doneBytes === event.totalBytes,
    );
    expect(error.code).toBe("INTERRUPTED");
    await expectNothingTagged(setup);
  });
});
