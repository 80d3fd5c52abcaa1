import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { sweepTemporaryFiles, temporaryFile } from "../../src/store/temporary-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("a temporary file is gone when its user is done with it, or never wrote it", async () => {
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
