import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { CACHE_IN_USE, tryLock } from "../../src/store/locks.ts";
import { sweepTemporaryFiles, temporaryFile } from "../../src/store/temporary-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("a temporary file is removed after its use, also if it was never written", async () => {
  await using folder = await temporaryFolder();
  {
    await using file = temporaryFile(folder.path, "layer");
    await using _unwritten = temporaryFile(folder.path, "layer");
    await Bun.write(file.path, "x");
    expect(await readdir(folder.path)).toHaveLength(1);
  }
  expect(await readdir(folder.path)).toEqual([]);
});

test("what a killed process left is swept away, and nothing else", async () => {
  await using folder = await temporaryFolder();
  const killed = Bun.spawn(
    [
      process.execPath,
      "-e",
      `import { temporaryFile } from ${JSON.stringify(join(import.meta.dir, "../../src/store/temporary-file.ts"))};
       await Bun.write(temporaryFile(${JSON.stringify(folder.path)}, "layer").path, "gigabytes");
       console.log("written");
       setInterval(() => {}, 1000);`,
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  // It lives until it is killed, and so does its file.
  await killed.stdout.getReader().read();
  await sweepTemporaryFiles(folder.path);
  expect(await readdir(folder.path)).toHaveLength(1);
  killed.kill("SIGKILL");
  await killed.exited;

  const host = hostname().replace(/[^A-Za-z0-9]+/g, "_");
  const uuid = crypto.randomUUID();
  const kept = [
    `layer-${host}-${process.pid}-${uuid}.tmp`,
    `layer-another_${host}-999999999-${uuid}.tmp`,
    "mine.tmp",
    `layer-${host}-999999999-${uuid}`,
  ];
  for (const name of kept) await Bun.write(join(folder.path, name), "");
  await sweepTemporaryFiles(folder.path);
  expect((await readdir(folder.path)).sort()).toEqual(kept.sort());
});

test("while a push uses the cache nothing is swept: in another container of this host name its process looks dead", async () => {
  await using folder = await temporaryFolder();
  const host = hostname().replace(/[^A-Za-z0-9]+/g, "_");
  const name = `layer-${host}-999999999-${crypto.randomUUID()}.tmp`;
  await Bun.write(join(folder.path, name), "of the other container");
  {
    using _other = tryLock(folder.path, CACHE_IN_USE, "shared");
    await sweepTemporaryFiles(folder.path);
    expect(await readdir(folder.path)).toContain(name);
  }
  await sweepTemporaryFiles(folder.path);
  expect(await readdir(folder.path)).not.toContain(name);
});

test("where no locks work nothing is swept, and nothing fails", async () => {
  await using folder = await temporaryFolder();
  const host = hostname().replace(/[^A-Za-z0-9]+/g, "_");
  const name = `layer-${host}-999999999-${crypto.randomUUID()}.tmp`;
  await Bun.write(join(folder.path, name), "");
  // Something else is in the lock's place.
  await Bun.write(join(folder.path, `${CACHE_IN_USE}.lock`, "x"), "");
  await sweepTemporaryFiles(folder.path);
  expect(await readdir(folder.path)).toContain(name);
});
