/** What a disk may do to a push: it ends with words that help, leaves nothing half under a name, and tags nothing. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, chown, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { reset } from "../../dev/faults/fault.ts";
import { noFaults, type Plan } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { asNobody, canRunAsNobody, NOBODY } from "../support/nobody.ts";
import { requireParts } from "../support/parts.ts";
import { type CliResult, cliCommand, cliEnvironment, runCli } from "../support/run-cli.ts";
import { smallDisk } from "../support/small-disk.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startWatchedPush, stopWhileCompressing } from "../support/watched-push.ts";
import { whatIsWrongInCache } from "./cache-check.ts";
import { CHUNK_BYTES, layerOfChunks } from "./prepared-image.ts";
import { strictTarget, whatDiffers } from "./push-target.ts";

setDefaultTimeout(120_000);

/** Windows stops no process, and removes no file that is open. */
const isWindows = process.platform === "win32";

const LAYER_CHUNKS = 20;
const image = dockerArchive([layerOfChunks("disk", LAYER_CHUNKS)], ["team/app:v1"]);
/** Smaller than the compressed layer. */
const TOO_SMALL = 1_048_576;
/** Larger, and smaller than the archive. */
const LARGE_ENOUGH = 8_388_608;

/** Whatever logins this machine has are nobody's matter here. */
const ANONYMOUS = { SKIP_AUTH: "1" };

const OTHER_CACHE = "or choose another folder with --cache-dir.";
const NOT_NOTED = "Warning: cannot save upload progress";

/** Everybody's, with an image in output.tar, and a registry whose requests may meet faults. */
async function setUp() {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  await chmod(folder.path, 0o755);
  await Bun.write(join(folder.path, "output.tar"), image.archive);
  const target = resources.use(await strictTarget());
  const faults: { plan: Plan } = { plan: noFaults };
  const proxy = resources.use(
    await startFaultProxy({
      upstreamHost: target.upstreamHost,
      plan: (request) => faults.plan(request),
    }),
  );
  const args = (cache: string, source: readonly string[] = []) => [
    ...["--debug", "--chunk-size", `${CHUNK_BYTES}`, "--cache-dir", cache, ...source],
    `${proxy.host}/team/app:v1`,
  ];
  return {
    folder: folder.path,
    target,
    proxy,
    args,
    push: (cache: string, ...source: string[]) =>
      runCli(args(cache, source), { cwd: folder.path, env: ANONYMOUS }),
    /** Something happens to the disk in the middle of the upload. */
    inTheMiddle(act: () => Promise<void>) {
      const fault = reset("before", { name: "disk", act });
      faults.plan = ({ kind, occurrence }) =>
        kind === "middle-patch" && occurrence === 5 ? fault : undefined;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

type Setup = Awaited<ReturnType<typeof setUp>>;

/** A failure that a user understands, which did no harm. */
async function expectFailure(
  setup: Setup,
  result: CliResult,
  cache: string,
  ...words: string[]
): Promise<void> {
  for (const word of [cache, ...words]) expect(result.stderr).toContain(word);
  expect(result.stderr).toMatch(/^Error: .*\n {2}\S.*\n$/m);
  expect(result.stderr).not.toContain("bug in chunkpush");
  expect(result.stderr).not.toMatch(/^\s+at /m);
  expect({ code: result.code, stdout: result.stdout }).toEqual({ code: 1, stdout: "" });
  expect(setup.proxy.requests.filter(({ kind }) => kind === "put-manifest")).toEqual([]);
  const { problem, leftovers } = await whatIsWrongInCache(cache);
  expect([problem, leftovers]).toEqual([undefined, 0]);
}

async function expectPushed(setup: Setup, { code, stderr }: CliResult): Promise<void> {
  expect(code, stderr).toBe(0);
  expect(await whatDiffers(setup.target, "team/app", { image })).toBeUndefined();
}

function countOf(text: string, word: string): number {
  return text.split(word).length - 1;
}

describe.skipIf(!requireParts("mount"))("a full disk", () => {
  test.each<[string, (setup: Setup, cache: string) => Promise<CliResult>]>([
    ["is compressed", (setup, cache) => setup.push(cache)],
    [
      "comes on standard input",
      (setup, cache) =>
        runCli(setup.args(cache, ["-"]), {
          cwd: setup.folder,
          env: ANONYMOUS,
          input: new Uint8Array(image.archive),
        }),
    ],
  ])("fails a push in clear words under a layer that %s", async (_, push) => {
    await using setup = await setUp();
    await using disk = await smallDisk(TOO_SMALL);
    const result = await push(setup, disk.path);
    const hint = `Free some disk space, ${OTHER_CACHE}`;
    await expectFailure(setup, result, disk.path, "Cannot compress the layer", "ENOSPC", hint);
  });

  test("fails a push in clear words under an archive that is unpacked", async () => {
    await using setup = await setUp();
    await using disk = await smallDisk(TOO_SMALL);
    await Bun.write(join(setup.folder, "packed.tar.gz"), gzipSync(image.archive));
    const result = await setup.push(disk.path, "packed.tar.gz");
    await expectFailure(
      setup,
      result,
      disk.path,
      'Cannot unpack "packed.tar.gz" (gzip) into',
      "less than 1.0 GB would remain free on the disk",
      `Free some disk space, ${OTHER_CACHE}`,
    );
  });

  test("lets a push go on, with one warning, where only the notes about an upload have no room", async () => {
    await using setup = await setUp();
    await using disk = await smallDisk(LARGE_ENOUGH);
    setup.inTheMiddle(async () => {
      // The file takes what there is, and the rest of it is refused.
      await writeFile(join(disk.path, "filler"), new Uint8Array(LARGE_ENOUGH)).catch(() => undefined);
    });
    const result = await setup.push(disk.path);
    await expectPushed(setup, result);
    expect(countOf(result.stderr, NOT_NOTED)).toBe(1);
    expect(result.stderr).toContain("ENOSPC");
    await rm(join(disk.path, "filler"));
    const { problem, leftovers } = await whatIsWrongInCache(disk.path);
    expect([problem, leftovers]).toEqual([undefined, 0]);
  });
});

describe.skipIf(!requireParts("mount"))("a read-only disk", () => {
  test("fails a push in clear words under the cache", async () => {
    await using setup = await setUp();
    await using disk = await smallDisk(LARGE_ENOUGH);
    await expectPushed(setup, await setup.push(disk.path));
    await disk.makeReadOnly();
    await using other = await setUp();
    const result = await other.push(disk.path);
    await expectFailure(
      other,
      result,
      disk.path,
      "Cannot write to the cache folder",
      `Choose a place that can be written to, ${OTHER_CACHE}`,
    );
    expect(other.proxy.requests).toEqual([]);

    const listed = await runCli(["cache", "--cache-dir", disk.path], { cwd: other.folder });
    expect(listed.code, listed.stderr).toBe(0);
    expect(listed.stdout).toContain("1 blob of 1 layer");
    const pruned = await runCli(["cache", "prune", "--all", "--cache-dir", disk.path], { cwd: other.folder });
    await expectFailure(other, pruned, disk.path, "Cannot prune", "Check the permissions");
  });
});

describe.skipIf(!canRunAsNobody())("a user without permission", () => {
  /** Pushes as somebody who may not do everything. */
  async function pushAsNobody({ folder, args }: Setup, cache: string): Promise<CliResult> {
    const child = Bun.spawn(asNobody(cliCommand(args(cache))), {
      cwd: folder,
      env: cliEnvironment({ cwd: folder, env: ANONYMOUS }),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  async function folderOfNobody(setup: Setup): Promise<string> {
    const cache = join(setup.folder, "cache");
    await mkdir(cache);
    await chown(cache, NOBODY, NOBODY);
    return cache;
  }

  test("to make the cache's folder, or to write to it, learns that in clear words", async () => {
    await using setup = await setUp();
    const absent = join(setup.folder, "absent");
    const others = join(setup.folder, "others");
    await mkdir(others);
    for (const cache of [absent, others]) {
      const result = await pushAsNobody(setup, cache);
      await expectFailure(
        setup,
        result,
        cache,
        "Cannot write to the cache folder",
        `Check the permissions, ${OTHER_CACHE}`,
      );
    }
    expect(setup.proxy.requests).toEqual([]);
    expect(await readdir(others)).toEqual([]);
  });

  test("to read a file of the cache has the layer made again, and pushes all the same", async () => {
    await using setup = await setUp();
    const cache = await folderOfNobody(setup);
    await expectPushed(setup, await pushAsNobody(setup, cache));
    await using other = await setUp();
    for (const name of await readdir(cache)) {
      if (name.endsWith("-ptr")) await chmod(join(cache, name), 0o000);
    }
    const result = await pushAsNobody(other, cache);
    await expectPushed(other, result);
    expect(result.stderr).not.toContain(": cached, ");
    expect(result.stderr).not.toContain("Warning");
  });

  test("to write to the cache any more, in the middle of the upload, pushes all the same, with one warning", async () => {
    await using setup = await setUp();
    const cache = await folderOfNobody(setup);
    setup.inTheMiddle(() => chmod(cache, 0o555));
    const result = await pushAsNobody(setup, cache);
    await expectPushed(setup, result);
    expect(countOf(result.stderr, NOT_NOTED)).toBe(1);
    expect((await whatIsWrongInCache(cache)).problem).toBeUndefined();
  });

  test("to write to a cache that root has filled uses it, and updates no date", async () => {
    await using setup = await setUp();
    const cache = join(setup.folder, "cache");
    await expectPushed(setup, await setup.push(cache));
    for (const name of await readdir(cache)) await chmod(join(cache, name), 0o644);
    await chmod(cache, 0o1777);
    await using other = await setUp();
    const result = await pushAsNobody(other, cache);
    await expectPushed(other, result);
    expect(result.stderr).toContain(": cached, ");
    expect(result.stderr).not.toContain("Warning");
  });
});

describe("the cache of a push", () => {
  test("that is a file fails the push in clear words", async () => {
    await using setup = await setUp();
    const cache = join(setup.folder, "cache");
    await Bun.write(cache, "mine");
    await expectFailure(
      setup,
      await setup.push(cache),
      cache,
      "Cannot write to the cache folder",
      `Check the path, ${OTHER_CACHE}`,
    );
    expect(await Bun.file(cache).text()).toBe("mine");
    for (const args of [["cache"], ["cache", "prune", "--all"]]) {
      const result = await runCli([...args, "--cache-dir", cache], { cwd: setup.folder, env: ANONYMOUS });
      await expectFailure(setup, result, cache, "Cannot read the cache folder");
    }
    expect(await Bun.file(cache).text()).toBe("mine");
  });

  test("whose lock file is no lock lets the push go on, with one warning, and nothing is pruned", async () => {
    await using setup = await setUp();
    const cache = join(setup.folder, "cache");
    await mkdir(join(cache, "cache.lock"), { recursive: true });
    const result = await setup.push(cache);
    await expectPushed(setup, result);
    expect(countOf(result.stderr, `Warning: file locking is unavailable in "${cache}"`)).toBe(1);

    await using other = await setUp();
    const pruned = await runCli(["cache", "prune", "--all", "--cache-dir", cache], { cwd: other.folder });
    await expectFailure(other, pruned, cache, "it cannot be locked", "you can delete the folder");
    expect((await readdir(cache)).length).toBeGreaterThan(2);
  });

  test.skipIf(isWindows)(
    "that is removed in the middle of an upload fails the push in clear words",
    async () => {
      await using setup = await setUp();
      const cache = join(setup.folder, "cache");
      setup.inTheMiddle(() => rm(cache, { recursive: true }));
      const result = await setup.push(cache);
      await expectFailure(setup, result, cache, "ENOENT", "that no other program removes it");
      await expect(readdir(cache)).rejects.toThrow("ENOENT");

      await expectPushed(setup, await setup.push(cache));
    },
  );

  test.skipIf(isWindows)(
    "that is removed while a layer is compressed fails the push in clear words",
    async () => {
      await using setup = await setUp();
      const cache = join(setup.folder, "cache");
      await mkdir(cache);
      const large = dockerArchive([layerOfChunks("disk, large", 300)], ["team/app:v1"]);
      await Bun.write(join(setup.folder, "output.tar"), large.archive);
      const push = await stopWhileCompressing(cache, () =>
        startWatchedPush(setup.args(cache), { cwd: setup.folder, env: ANONYMOUS }),
      );
      await rm(cache, { recursive: true });
      process.kill(push.pid, "SIGCONT");
      await expectFailure(
        setup,
        await push.ended,
        cache,
        "Cannot compress the layer",
        `that no other program removes it, ${OTHER_CACHE}`,
      );
      await expect(readdir(cache)).rejects.toThrow("ENOENT");
    },
  );
});
