/** Two pushes at once, of one image, from one folder: they share the work, also where one of them is killed in it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { reset } from "../../dev/faults/fault.ts";
import { noFaults, type Plan } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startWatchedPush, stopWhileCompressing } from "../support/watched-push.ts";
import { whatIsWrongInCache } from "./cache-check.ts";
import { CHUNK_BYTES, layerOfChunks } from "./prepared-image.ts";
import { strictTarget, whatDiffers } from "./push-target.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(120_000);

/** Windows stops no process. */
const isWindows = process.platform === "win32";

const WAITS_FOR_LAYER = "waiting for another push that compresses it";
const WAITS_FOR_UPLOAD = "waiting for another push that uploads it";

/** More than config and manifest have, even twice. */
const SMALL_BYTES = 10_000;

const chunks = [3, 30, 20, 40];
const image = dockerArchive(
  chunks.map((count) => layerOfChunks(`two pushes ${count}`, count)),
  ["team/app:v1"],
);
const BLOBS = chunks.length + 1;

/** A folder with an image in output.tar, and a registry whose requests may meet faults. */
async function setUp(archive = image.archive) {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const target = resources.use(await strictTarget());
  const cache = join(folder.path, ".cache");
  await Bun.write(join(folder.path, "output.tar"), archive);
  // So that it can be watched before there is a push.
  await mkdir(cache);
  const faults: { plan: Plan } = { plan: noFaults };
  const proxy = resources.use(
    await startFaultProxy({
      upstreamHost: target.upstreamHost,
      plan: (request) => faults.plan(request),
    }),
  );
  const flags = ["--parallel", "2", "--chunk-size", `${CHUNK_BYTES}`, "--debug"];
  return {
    faults,
    target,
    cache,
    proxy,
    start: () => startWatchedPush([...flags, `${proxy.host}/team/app:v1`], { cwd: folder.path }),
    prune: () => runCli(["cache", "prune", "--all"], { cwd: folder.path }),
    requestsOf: (...kinds: string[]) => proxy.requests.filter(({ kind }) => kinds.includes(kind)),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function countOf(text: string, word: RegExp): number {
  return text.match(new RegExp(word, "g"))?.length ?? 0;
}

describe("two pushes at once", () => {
  test("compress every layer once, and send every blob once", async () => {
    await using setup = await setUp();
    const results = await Promise.all([setup.start().ended, setup.start().ended]);
    for (const { code, stderr } of results) expect(code, stderr).toBe(0);
    expect(results[0].stdout).toBe(results[1].stdout);
    expect(await whatDiffers(setup.target, "team/app", { image })).toBeUndefined();

    const said = results.map(({ stderr }) => stderr).join("");
    expect(countOf(said, /: compressed, /)).toBe(chunks.length);
    expect(countOf(said, /: cached/)).toBe(chunks.length);
    expect(countOf(said, /: uploaded in /)).toBe(BLOBS);
    expect(said).not.toContain("Warning");
    expect(setup.requestsOf("start-upload")).toHaveLength(BLOBS);
    expect(setup.requestsOf("closing-put", "whole-put")).toHaveLength(BLOBS);
    expect(setup.requestsOf("put-manifest")).toHaveLength(2);
    const { problem, leftovers, blobBytes } = await whatIsWrongInCache(setup.cache);
    expect([problem, leftovers]).toEqual([undefined, 0]);
    const sentBytes = setup.proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
    expect(sentBytes).toBeLessThan(blobBytes + SMALL_BYTES);
    expect((await readdir(setup.cache)).filter((name) => name.endsWith(".lock"))).toEqual(["cache.lock"]);
  });

  test.skipIf(isWindows)(
    "go on where one of them is killed in the middle of a layer, which is left to the other",
    async () => {
      const one = dockerArchive([layerOfChunks("two pushes, killed", 300)], ["team/app:v1"]);
      await using setup = await setUp(one.archive);
      const first = await stopWhileCompressing(setup.cache, setup.start);
      const second = setup.start();
      await second.says(WAITS_FOR_LAYER);
      await first.kill();
      const { code, stderr } = await second.ended;
      expect(code, stderr).toBe(0);
      expect(countOf(stderr, new RegExp(WAITS_FOR_LAYER))).toBe(1);
      expect(stderr).toContain(": compressed, ");
      expect(await whatDiffers(setup.target, "team/app", { image: one })).toBeUndefined();
      expect((await whatIsWrongInCache(setup.cache)).problem).toBeUndefined();

      // Whoever comes next finds nothing locked, and sweeps away what was left.
      const pruned = await setup.prune();
      expect(pruned.code, pruned.stderr).toBe(0);
      expect(await readdir(setup.cache)).toEqual([]);
    },
  );

  test("go on where one of them is killed in the middle of an upload, with which the other goes on", async () => {
    const one = dockerArchive([layerOfChunks("two pushes, killed", 20)], ["team/app:v1"]);
    await using setup = await setUp(one.archive);
    const first = setup.start();
    let second: typeof first | undefined;
    const kill = async () => {
      second = setup.start();
      await second.says(WAITS_FOR_UPLOAD);
      await first.kill();
    };
    const fault = reset("middle", { name: "killed", act: kill });
    setup.faults.plan = ({ kind, occurrence }) =>
      kind === "middle-patch" && occurrence === 12 ? fault : undefined;
    await first.ended;

    const { code, stderr } = (await second?.ended) ?? { code: -1, stderr: "" };
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/: resumed at /);
    expect(await whatDiffers(setup.target, "team/app", { image: one })).toBeUndefined();
    const { problem, blobBytes } = await whatIsWrongInCache(setup.cache);
    expect(problem).toBeUndefined();
    const sentBytes = setup.proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
    expect(sentBytes).toBeLessThan(blobBytes + CHUNK_BYTES + SMALL_BYTES);
    // The layer's, and the config's.
    expect(setup.requestsOf("start-upload")).toHaveLength(2);
  });
});

describe("a cache", () => {
  test("is not pruned under a running push", async () => {
    await using setup = await setUp();
    let pruned: Awaited<ReturnType<typeof setup.prune>> | undefined;
    const prune = async () => {
      pruned = await setup.prune();
    };
    const fault = reset("before", { name: "pruned", act: prune });
    setup.faults.plan = ({ kind, occurrence }) =>
      kind === "middle-patch" && occurrence === 5 ? fault : undefined;
    const { code, stderr } = await setup.start().ended;
    expect(code, stderr).toBe(0);
    expect(pruned?.code).toBe(1);
    expect(pruned?.stdout).toBe("");
    expect(pruned?.stderr).toContain("[CACHE_IN_USE]");
    expect(await whatDiffers(setup.target, "team/app", { image })).toBeUndefined();
    expect((await whatIsWrongInCache(setup.cache)).problem).toBeUndefined();

    const later = await setup.prune();
    expect(later.code, later.stderr).toBe(0);
    expect(await readdir(setup.cache)).toEqual([]);
  });
});
