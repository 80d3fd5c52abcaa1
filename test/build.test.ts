/** What is shipped: the bundle, the executable and the package, each used where nothing else of the project is. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir, readdir, rename, symlink } from "node:fs/promises";
import { join } from "node:path";
import { extract } from "tar";
import { type StrictRegistry, startStrictRegistry } from "../dev/registry/registry.ts";
import packageJson from "../package.json";
import { run, runWell, type TemporaryFolder, temporaryFolder } from "./e2e/command.ts";
import { handmadeImage } from "./e2e/handmade-image.ts";
import { pulledImage } from "./e2e/read-back.ts";
import { seededBytes } from "./e2e/seeded-bytes.ts";

setDefaultTimeout(60_000);

const root = join(import.meta.dir, "..");
const isWindows = process.platform === "win32";
const bun = process.execPath;
// Several blocks, so that several workers have to start.
const image = handmadeImage("team/app:v1", [
  seededBytes("build", 3_000_000),
  new TextEncoder().encode("small\n"),
]);

let folder: TemporaryFolder;
let registry: StrictRegistry;
/** A PATH that leads nowhere. */
let nowhere: string;
const resources = new AsyncDisposableStack();
afterAll(() => resources.disposeAsync());
beforeAll(async () => {
  folder = resources.use(await temporaryFolder());
  nowhere = join(folder.path, "nowhere");
  await mkdir(nowhere);
  const directory = join(folder.path, "registry");
  registry = resources.use(
    await startStrictRegistry({ directory, minChunkBytes: 500_000, maxChunkBytes: 1_000_000 }),
  );
});

describe("bun build", () => {
  test("makes one file that needs nothing beside it but Bun", async () => {
    const out = join(folder.path, "bundle");
    await runWell([bun, "build", "index.ts", "--target=bun", `--outfile=${join(out, "chunkpush.js")}`], {
      cwd: root,
    });
    expect(await readdir(out)).toEqual(["chunkpush.js"]);
    const alone = join(folder.path, "bundle-alone");
    await mkdir(alone);
    await rename(join(out, "chunkpush.js"), join(alone, "chunkpush.js"));
    await expectToWork([bun, "chunkpush.js"], alone, nowhere, "bundle");
  });

  test("--compile makes one executable that needs no Bun", async () => {
    const out = join(folder.path, "executable");
    const name = isWindows ? "chunkpush.exe" : "chunkpush";
    await runWell([bun, "build", "--compile", "index.ts", "--outfile", join(out, name)], { cwd: root });
    expect(await readdir(out)).toEqual([name]);
    await expectToWork([join(out, name)], out, nowhere, "executable");
  });
});

describe("the package", () => {
  test.skipIf(isWindows)("has all that its command needs, and Bun starts it", async () => {
    await runWell([bun, "pm", "pack", "--quiet", "--destination", folder.path], { cwd: root });
    const packed = join(folder.path, "package");
    await extract({
      file: join(folder.path, `${packageJson.name}-${packageJson.version}.tgz`),
      cwd: folder.path,
    });
    await symlink(join(root, "node_modules"), join(packed, "node_modules"));

    // As an installation does it: a link in a folder on PATH, to a file that may be executed.
    const bin = join(folder.path, "bin");
    await mkdir(bin);
    await symlink(bun, join(bin, "bun"));
    const command = join(packed, packageJson.bin.chunkpush);
    expect((await Bun.file(command).text()).split("\n")[0]).toBe("#!/usr/bin/env bun");
    await chmod(command, 0o755);
    await symlink(command, join(bin, "chunkpush"));

    const work = join(folder.path, "package-work");
    await mkdir(work);
    await expectToWork([join(bin, "chunkpush")], work, bin, "package");
    // Without Bun on PATH it is env that fails: nothing else was used to start it.
    expect((await run([join(bin, "chunkpush"), "--version"], { env: { PATH: nowhere } })).code).toBe(127);
  });
});

/** Asks for version and help, and pushes an image whose layers have to be compressed. */
async function expectToWork(
  command: readonly string[],
  cwd: string,
  path: string,
  repository: string,
): Promise<void> {
  const options = { cwd, env: { PATH: path, HOME: cwd } };
  expect(await runWell([...command, "--version"], options)).toBe(`${packageJson.version}\n`);
  const help = await runWell([...command, "--help"], options);
  expect(help).toStartWith("Usage: chunkpush [options] [source] <target>");
  expect(help).toContain("NODE_EXTRA_CA_CERTS");

  await Bun.write(join(cwd, "output.tar"), image.archive);
  const reference = `${registry.host}/${repository}:v1`;
  const pushed = await run([...command, reference], options);
  expect(pushed.code, pushed.stderr).toBe(0);
  const ask = async (what: string) => (await fetch(`${registry.url}/v2/${repository}/${what}`)).bytes();
  const pulled = await pulledImage(await ask("manifests/v1"), (digest) => ask(`blobs/${digest}`));
  expect(pushed.stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
  expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
  expect(pulled.diffIds).toEqual([...image.diffIds]);
}
