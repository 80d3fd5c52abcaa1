/** What `plan` tells: the same as the push then does, and without a trace. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ProfileName } from "../../dev/registry/profiles.ts";
import { push } from "../../index.ts";
import { PushError } from "../../src/errors.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { type Forecast, forecast } from "../../src/push/forecast.ts";
import type { PushOptions } from "../../src/push/options.ts";
import type { PushEvent } from "../../src/report/events.ts";
import { rememberLimits } from "../../src/store/upload-notes.ts";
import { descriptorOf, multiPlatform, seededLayer } from "../support/image-fixture.ts";
import { archiveBytes, dockerArchive, layoutFiles } from "../support/image-forms.ts";
import { hasProgram, posixOnly } from "../support/needs.ts";
import { rejection } from "../support/rejection.ts";
import { PROGRAM, runCli, startCli } from "../support/run-cli.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

// Whole processes: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const layers = [1, 2, 3].map((seed) => seededLayer(20_000 * seed, seed));

/** Stands for all bytes of a layer. */
const WHOLE = -1;

/** Every file below a folder, with its size, date and inode. */
async function snapshot(folder: string): Promise<Record<string, unknown>> {
  const names = [".", ...(await readdir(folder, { recursive: true }))].toSorted();
  const entries = names.map(async (name) => {
    const { size, mtimeMs, ctimeMs, ino, mode } = await stat(join(folder, name));
    return [name, { size, mtimeMs, ctimeMs, ino, mode }] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

async function setUp() {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry());
  const source = join(folder.path, "output.tar");
  await Bun.write(source, dockerArchive(layers, ["team/app:v1"]).archive);
  const options: PushOptions = {
    source,
    target: `${registry.host}/team/app:v1`,
    cacheDirectory: join(folder.path, ".cache"),
    chunkBytes: 16_000,
  };
  const owned = resources.move();
  return { folder, registry, options, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** The only plan. */
async function planOf(options: PushOptions): Promise<Forecast> {
  const [plan, ...others] = await forecast(options);
  if (plan === undefined || others.length > 0) throw new Error("expected one plan");
  return plan;
}

const actionsOf = ({ blobs }: Forecast) => blobs.map(({ action }) => action);
const CHANGES = ["POST", "PATCH", "PUT"];

/** Pushes. @returns its requests that change something */
async function pushChanges(registry: TestRegistry, options: PushOptions) {
  const sent = registry.requests.length;
  await push(options);
  return registry.requests.slice(sent).filter(({ method }) => CHANGES.includes(method));
}

describe("a plan", () => {
  test("changes no file and no date, makes no cache, and sends GET and HEAD alone", async () => {
    await using scene = await setUp();
    const before = await snapshot(scene.folder.path);
    await forecast(scene.options);
    expect(await snapshot(scene.folder.path)).toEqual(before);

    await push(scene.options);
    const [ours, theirs] = [await snapshot(scene.folder.path), await snapshot(scene.registry.directory)];
    const sent = scene.registry.requests.length;
    await forecast(scene.options);
    await forecast({ ...scene.options, target: `${scene.registry.host}/team/other:v1` });
    expect(await snapshot(scene.folder.path)).toEqual(ours);
    expect(await snapshot(scene.registry.directory)).toEqual(theirs);
    const methods = new Set(scene.registry.requests.slice(sent).map(({ method }) => method));
    expect([...methods].toSorted()).toEqual(["GET", "HEAD"]);
  });

  test("of a first push counts its requests, and estimates its bytes within a tenth", async () => {
    await using scene = await setUp();
    const plan = await planOf(scene.options);
    expect(actionsOf(plan)).toEqual(["send", "compress", "compress", "compress"]);
    expect(plan.blobs.map(({ rawBytes }) => rawBytes)).toEqual([
      undefined,
      ...layers.map(({ length }) => length),
    ]);
    const { sentBytes } = await push(scene.options);
    const planned = plan.blobs.reduce((sum, { pushedBytes = 0 }) => sum + pushedBytes, 0);
    expect(Math.abs(planned / sentBytes - 1)).toBeLessThan(0.1);
    expect(scene.registry.requests.filter(({ method }) => CHANGES.includes(method))).toHaveLength(
      plan.requests,
    );
  });

  test("of a push to another repository mounts what the registry has, as the push then does", async () => {
    await using scene = await setUp();
    await push(scene.options);
    const options = { ...scene.options, target: `${scene.registry.host}/team/other:v1` };
    const plan = await planOf(options);
    expect(plan.blobs.map(({ action, from }) => [action, from])).toEqual(
      Array(4).fill(["mount", "team/app"]),
    );
    const sent = scene.registry.requests.length;
    const events: PushEvent[] = [];
    const report = (event: PushEvent) => events.push(event);
    expect(await push({ ...options, report })).toMatchObject({ sentBytes: 0 });
    expect(
      events.filter((event) => event.type === "blob" && event.state === "done" && event.how === "mounted"),
    ).toHaveLength(4);
    const changes = scene.registry.requests.slice(sent).filter(({ method }) => CHANGES.includes(method));
    expect(changes).toHaveLength(plan.requests);
  });

  test("of a repeated push of mounted blobs sends nothing but the manifest, whatever size the registry tells of them", async () => {
    await using scene = await setUp();
    const options = { ...scene.options, target: `${scene.registry.host}/team/other:v1` };
    await push(scene.options);
    await push(options);
    const plan = await planOf(options);
    expect(actionsOf(plan)).toEqual(Array(4).fill("present"));
    const changes = await pushChanges(scene.registry, options);
    expect([changes.length, plan.requests]).toEqual([1, 1]);
  });

  test("of a repeated push sends nothing but the manifest", async () => {
    await using scene = await setUp();
    await push(scene.options);
    const plan = await planOf(scene.options);
    expect(actionsOf(plan)).toEqual(Array(4).fill("present"));
    expect(plan.requests).toBe(1);
  });

  test.each<[string, number, Partial<PushOptions>, ProfileName | undefined, number[]]>([
    ["in the middle of a layer, resumes there", 2, {}, undefined, [32_000]],
    ["after all bytes of a layer, has only the upload to close", 4, {}, undefined, [WHOLE]],
    ["and goes on in larger chunks, resumes", 2, { chunkBytes: 32_000 }, undefined, [32_000]],
    ["and goes on in smaller chunks, begins the layer anew", 2, { chunkBytes: 8_000 }, undefined, []],
    [
      "and goes on in smaller chunks, resumes where chunks may differ",
      2,
      { chunkBytes: 8_000 },
      "distribution-3",
      [32_000],
    ],
  ])(
    "of a push that was interrupted %s, as the push then does",
    async (_, stopAt, later, profile, resumed) => {
      await using scene = await setUp();
      let patches = 0;
      const stop = new AbortController();
      await using registry = await startTestRegistry({
        profile,
        onRequest: ({ method }) => {
          if (method === "PATCH" && ++patches === stopAt)
            stop.abort(new PushError("INTERRUPTED", "Stopped."));
        },
      });
      const options = { ...scene.options, target: `${registry.host}/team/app:v1`, parallel: 1 };
      expect(await rejection(push({ ...options, stop: stop.signal }))).toMatchObject({ code: "INTERRUPTED" });
      const plan = await planOf({ ...options, ...later });
      const all = plan.blobs.filter(({ resumedBytes }) => resumedBytes > 0);
      expect(
        all.map(({ resumedBytes, pushedBytes }) => (resumedBytes === pushedBytes ? WHOLE : resumedBytes)),
      ).toEqual(resumed);
      const changes = await pushChanges(registry, { ...options, ...later });
      expect(changes).toHaveLength(plan.requests);
    },
  );

  test("of a push that was interrupted resumes also what another repository has by now, as the push then does", async () => {
    await using scene = await setUp();
    const stop = new AbortController();
    await using registry = await startTestRegistry({
      onRequest: ({ method }) => {
        if (method === "PATCH") stop.abort(new PushError("INTERRUPTED", "Stopped."));
      },
    });
    const options = { ...scene.options, target: `${registry.host}/team/app:v1`, parallel: 1 };
    expect(await rejection(push({ ...options, stop: stop.signal }))).toMatchObject({ code: "INTERRUPTED" });
    await push({ ...options, target: `${registry.host}/team/other:v1` });
    const plan = await planOf(options);
    expect(actionsOf(plan).toSorted()).toEqual(["mount", "mount", "present", "send"]);
    const changes = await pushChanges(registry, options);
    expect(changes).toHaveLength(plan.requests);
  });

  test("of a push that was killed before its first chunk was there takes the upload that has begun", async () => {
    await using scene = await setUp();
    const abort = new AbortController();
    await using registry = await startTestRegistry({
      intercept: (_, kind) => {
        if (kind !== "patch" || abort.signal.aborted) return undefined;
        abort.abort(new PushError("INTERRUPTED", "Killed."));
        return "drop";
      },
    });
    const options = { ...scene.options, target: `${registry.host}/team/app:v1`, parallel: 1 };
    expect(await rejection(push({ ...options, signal: abort.signal }))).toMatchObject({
      code: "INTERRUPTED",
    });
    const plan = await planOf(options);
    const changes = await pushChanges(registry, options);
    expect(changes).toHaveLength(plan.requests);
  });

  test("of a push to a registry that takes bodies in PATCH alone counts one for each blob, as the push does", async () => {
    await using scene = await setUp();
    const notes = { directory: scene.options.cacheDirectory ?? "" };
    await mkdir(notes.directory, { mode: 0o700 });
    await rememberLimits(notes, scene.registry.url, { emptyPuts: true });
    // What was learned of bodies is not asked where the user chooses their size.
    const { chunkBytes: _, ...options } = scene.options;
    const plan = await planOf(options);
    await push(options);
    const changes = scene.registry.requests.filter(({ method }) => CHANGES.includes(method));
    expect(changes).toHaveLength(plan.requests);
  });

  test("is made for each of several targets", async () => {
    await using scene = await setUp();
    const target = ["team/app:v1", "team/b:v2"].map((name) => `${scene.registry.host}/${name}`);
    expect((await forecast({ ...scene.options, target })).map(({ reference }) => reference)).toEqual(target);
  });

  test("of layers that stay uncompressed knows their sizes", async () => {
    await using scene = await setUp();
    const plan = await planOf({ ...scene.options, compression: { kind: "none" } });
    expect(plan.blobs.slice(1)).toMatchObject(
      layers.map(({ length }) => ({ action: "send", pushedBytes: length, isEstimate: false })),
    );
  });

  test("of an index with platforms and attestations counts every manifest and blob, as the push does", async () => {
    await using scene = await setUp();
    const { root, files } = multiPlatform();
    const layout = { ...layoutFiles([descriptorOf(root, MEDIA_TYPE.index)]), ...files };
    await Bun.write(scene.options.source as string, archiveBytes(layout));
    const plan = await planOf(scene.options);
    await push(scene.options);
    const { requests, recorded } = scene.registry;
    expect(requests.filter(({ method }) => CHANGES.includes(method))).toHaveLength(plan.requests);
    expect(recorded("put-manifest")).toHaveLength(plan.manifests);
    expect(new Set(plan.blobs.map(({ kind }) => kind))).toEqual(new Set(["layer", "config", "blob"]));
  });

  test("of an engine's image reads its layers' names, and has nothing saved", async () => {
    await using scene = await setUp();
    const image = dockerArchive(layers, ["team/app:v1"]);
    const inspected = {
      Id: digestOf(image.config),
      RepoTags: ["team/app:v1"],
      Os: "linux",
      Architecture: "amd64",
      RootFS: { Layers: image.diffIds },
    };
    const bin = join(scene.folder.path, "bin");
    const log = join(bin, "log");
    await Bun.write(
      join(bin, "docker"),
      `#!/bin/sh\necho "$*" >> ${log}\ncase "$*" in "image inspect"*) echo '${JSON.stringify([inspected])}' ;; *) exit 1 ;; esac\n`,
    );
    await chmod(join(bin, "docker"), 0o755);
    const engineEnvironment = { PATH: `${bin}:${process.env["PATH"]}` };
    const options = { ...scene.options, source: "docker-daemon:team/app:v1", engineEnvironment };
    const plan = await planOf(options);
    expect(plan.blobs.map(({ action, pushedBytes }) => [action, pushedBytes])).toEqual(
      Array(4).fill(["save", undefined]),
    );
    const args = ["plan", options.source, `${scene.registry.host}/team/app:v1`];
    const { stdout } = await runCli(args, { cwd: scene.folder.path, env: engineEnvironment });
    expect(stdout).toEndWith(
      "\nSends what the engine has to save, in at least 9 requests. Nothing was sent.\n",
    );
    expect(await Bun.file(log).text()).not.toMatch(/save|push|tag/);
    // The layers are known where an earlier push has left them in the cache.
    await push(scene.options);
    expect(actionsOf(await planOf(options))).toEqual(["save", "present", "present", "present"]);
  });

  test("of an image at another registry reads its manifests alone", async () => {
    await using scene = await setUp();
    await push(scene.options);
    await using registry = await startTestRegistry();
    const source = `docker://${scene.registry.host}/team/app:v1`;
    const plan = await planOf({ ...scene.options, source, target: `${registry.host}/team/app:v1` });
    expect(actionsOf(plan)).toEqual(Array(4).fill("send"));
    expect(registry.requests.filter(({ method }) => CHANGES.includes(method))).toEqual([]);
    expect(scene.registry.recorded("get-blob")).toEqual([]);
  });

  test.each(["zstd", "gzip"] as const)("estimates %s from samples of text", async (kind) => {
    await using scene = await setUp();
    const text = Array.from({ length: 90_000 }, (_, i) => `${i} lines of text ${i * 7919}`).join("\n");
    const raw = new Uint8Array(tarBytes([{ path: "text", body: Buffer.from(text) }]));
    await Bun.write(scene.options.source as string, dockerArchive([raw]).archive);
    const options = { ...scene.options, compression: { kind, level: 2 } };
    const plan = await planOf(options);
    const { sentBytes } = await push(options);
    const planned = plan.blobs.reduce((sum, { pushedBytes = 0 }) => sum + pushedBytes, 0);
    expect(Math.abs(planned / sentBytes - 1)).toBeLessThan(0.25);
  });
});

describe("a plan fails, as the push would,", () => {
  test("where the password is wrong", async () => {
    await using scene = await setUp();
    await using registry = await startTestRegistry({ credentials: { username: "me", password: "hush-Xq7" } });
    const login = { credentials: { username: "me", password: "wrong" } };
    const options = { ...scene.options, target: `${registry.host}/team/app:v1`, login };
    expect(await rejection(forecast(options))).toMatchObject({ code: "UNAUTHORIZED" });
  });

  test("where there is no such source", async () => {
    await using scene = await setUp();
    const options = { ...scene.options, source: join(scene.folder.path, "missing.tar") };
    expect(await rejection(forecast(options))).toMatchObject({ code: "SOURCE_NOT_FOUND" });
  });

  test.each<[string, string, (bytes: Uint8Array<ArrayBuffer>) => Uint8Array]>([
    ["gunzip", "image.tar.gz", Bun.gzipSync],
    ["gunzip", "it's the image.tar", Bun.gzipSync],
    ["unzstd", "image.tar.zst", Bun.zstdCompressSync],
  ])(
    "where %s has to unpack the source to the disk, which a plan does not do: %j",
    async (program, name, compress) => {
      await using scene = await setUp();
      const source = join(scene.folder.path, name);
      await Bun.write(source, compress(await Bun.file(scene.options.source as string).bytes()));
      const before = await snapshot(scene.folder.path);
      const error = await rejection(forecast({ ...scene.options, source }));
      expect(error.code).toBe("USAGE");
      expect(await snapshot(scene.folder.path)).toEqual(before);
      // The command works, whatever the file is called.
      if (!posixOnly() || !hasProgram(program)) return;
      const [, command = ""] = /: ([^:]+)$/.exec(error.hint ?? "") ?? [];
      await Bun.$`sh -c ${command}`.cwd(scene.folder.path).quiet();
      const unpacked = await Bun.file(join(scene.folder.path, "unpacked.tar")).bytes();
      expect(unpacked).toEqual(await Bun.file(scene.options.source as string).bytes());
    },
  );
});

describe("the command plan", () => {
  test("prints a table, and the same as push --dry-run", async () => {
    await using scene = await setUp();
    const target = `${scene.registry.host}/team/app:v1`;
    const cwd = scene.folder.path;
    const [plan, dryRun] = await Promise.all([
      runCli(["plan", target], { cwd }),
      runCli(["push", "--dry-run", target], { cwd }),
    ]);
    expect(plan.code).toBe(0);
    expect(dryRun.stdout).toBe(plan.stdout);
    const { diffIds } = dockerArchive(layers);
    const short = (layer: number) => diffIds[layer]?.slice("sha256:".length, "sha256:".length + 12);
    expect(plan.stdout.split("\n")).toEqual([
      `Plan for ${target}`,
      "",
      "LAYER             RAW    PUSHED  PLAN",
      `${short(0)}  22.0 kB  ~20.1 kB  compress, send in 1 request`,
      `${short(1)}  42.0 kB  ~40.1 kB  compress, send in 1 request`,
      `${short(2)}  62.0 kB  ~60.2 kB  compress, send in 1 request`,
      "Sends ~121 kB of ~121 kB in 9 requests. Nothing was sent.",
      "",
    ]);
    expect((await readdir(cwd)).filter((name) => name !== ".bun")).toEqual(["output.tar"]);
  });

  test("suggests a plan, and no push, where the engine has another image", async () => {
    await using scene = await setUp();
    const bin = join(scene.folder.path, "bin");
    const answer = `case "$2" in ls) echo team/app:v2 ;; *) echo "Error: No such image" >&2; exit 1 ;; esac`;
    await Bun.write(join(bin, "docker"), `#!/bin/sh\n${answer}\n`);
    await chmod(join(bin, "docker"), 0o755);
    const target = `${scene.registry.host}/team/app:v1`;
    const { code, stderr } = await runCli(["plan", "docker-daemon:team/app:v1", target], {
      cwd: scene.folder.path,
      env: { PATH: `${bin}:${process.env["PATH"]}` },
    });
    expect([code, stderr]).toEqual([1, expect.stringContaining(`"${PROGRAM} plan team/app:v2 ${target}"`)]);
    expect(stderr).not.toContain("Push ");
  });

  test("tells the time from the rate of an earlier push", async () => {
    await using scene = await setUp();
    const notes = { directory: scene.options.cacheDirectory ?? "" };
    await mkdir(notes.directory, { mode: 0o700 });
    await rememberLimits(notes, scene.registry.url, { bytesPerSecond: 10_000 });
    const target = `${scene.registry.host}/team/app:v1`;
    const { stdout } = await runCli(["plan", target], { cwd: scene.folder.path });
    expect(stdout).toContain(" in 9 requests, about 12 s. Nothing was sent.");
  });

  test.each<[string, string[], number | undefined, string, string]>([
    [
      "a chunk size that the registry may change",
      [],
      undefined,
      "compress, send in up to 3 chunks",
      "in up to 8 requests",
    ],
    [
      "a chunk size that follows from the rate",
      [],
      1_250_000,
      "compress, send in about 3 chunks",
      "in ~8 requests, about 9.6 s",
    ],
    [
      "the user's chunk size, and an estimated layer",
      ["--chunk-size=5MB"],
      undefined,
      "compress, send in about 3 chunks",
      "in ~8 requests",
    ],
    [
      "the user's chunk size, and a known layer",
      ["--chunk-size=5MB", "--compression=none"],
      undefined,
      "send in 3 chunks",
      "in 8 requests",
    ],
  ])("says how well it knows the number of requests: with %s", async (_, flags, bytesPerSecond, row, sum) => {
    await using scene = await setUp();
    await Bun.write(scene.options.source as string, dockerArchive([seededLayer(12_000_000, 1)]).archive);
    const notes = { directory: scene.options.cacheDirectory ?? "" };
    await mkdir(notes.directory, { mode: 0o700 });
    if (bytesPerSecond !== undefined) await rememberLimits(notes, scene.registry.url, { bytesPerSecond });
    const args = ["plan", ...flags, `${scene.registry.host}/team/app:v1`];
    const { stdout } = await runCli(args, { cwd: scene.folder.path });
    const [last = "", layer = ""] = stdout.trimEnd().split("\n").toReversed();
    expect(layer).toEndWith(`MB  ${row}`);
    expect(last).toEndWith(` ${sum}. Nothing was sent.`);
  });

  test.each([[["plan", "--json"]], [["push", "--dry-run", "--progress=json"]]])(
    "prints JSON with %j",
    async (args) => {
      await using scene = await setUp();
      const target = `${scene.registry.host}/team/app:v1`;
      const { stdout, code } = await runCli([...args, target], { cwd: scene.folder.path });
      expect(code).toBe(0);
      const { version, targets } = JSON.parse(stdout);
      expect(version).toBe(1);
      expect(targets).toMatchObject([{ reference: target, origin: scene.registry.url, manifests: 1 }]);
      expect(targets[0].blobs).toHaveLength(4);
    },
  );

  test.each([["plan"], ["push --dry-run"]])("says at Ctrl-C that nothing was sent: %s", async (words) => {
    const child = Promise.withResolvers<ReturnType<typeof startCli>>();
    await using registry = await startTestRegistry({
      async intercept() {
        (await child.promise).kill("SIGINT");
        await (await child.promise).exited;
        return undefined;
      },
    });
    await using folder = await temporaryFolder();
    await Bun.write(join(folder.path, "output.tar"), dockerArchive(layers, ["team/app:v1"]).archive);
    const started = startCli([...words.split(" "), `${registry.host}/team/app:v1`], { cwd: folder.path });
    child.resolve(started);
    expect(await started.exited).toBe(130);
    expect(await started.stderr.text()).toContain(
      "Interrupted: the plan did not finish. Nothing was sent.\n",
    );
  });
});
