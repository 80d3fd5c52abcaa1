/** What is shipped: the bundle, the executable and the package, each used where nothing else of the project is. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir, readdir, rename, symlink } from "node:fs/promises";
import { join } from "node:path";
import { extract } from "tar";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import packageJson from "../../package.json";
import { atTerminal } from "../support/at-terminal.ts";
import { run, runWell } from "../support/command.ts";
import { expectFolderToDecideNothing } from "../support/foreign-folder.ts";
import { layerOf, seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { hasProgram } from "../support/needs.ts";
import { pulledImage } from "../support/read-back.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const root = join(import.meta.dir, "../..");
const isWindows = process.platform === "win32";
const bun = process.execPath;
const node = Bun.which("node") ?? bun;
/** The package that has Bun for this machine. */
const ownBun: string = (await import(join(root, "bin/start-bun.mjs"))).neededPackage();
const hasOpenssl = hasProgram("openssl");
// Several blocks, so that several workers have to start.
const image = dockerArchive([seededLayer(3_000_000, "build"), layerOf("small", "small\n")], ["team/app:v1"]);

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

describe("the npm script", () => {
  test("build makes one file that needs nothing beside it but Bun", async () => {
    const out = join(folder.path, "bundle");
    await build("build", join(out, "chunkpush.js"));
    expect(await readdir(out)).toEqual(["chunkpush.js"]);
    const alone = join(folder.path, "bundle-alone");
    await mkdir(alone);
    await rename(join(out, "chunkpush.js"), join(alone, "chunkpush.js"));
    await expectToWork([bun, "chunkpush.js"], alone, nowhere, "bundle");
    if (hasOpenssl) {
      const command = [bun, join(alone, "chunkpush.js")];
      await expectFolderToDecideNothing(command, { path: nowhere, envFileOnly: true });
    }
  });

  test("compile makes one executable that needs no Bun, and that a foreign folder does not control", async () => {
    const out = join(folder.path, "executable");
    const name = isWindows ? "chunkpush.exe" : "chunkpush";
    await build("compile", join(out, name));
    expect(await readdir(out)).toEqual([name]);
    await expectToWork([join(out, name)], out, nowhere, "executable");
    if (hasOpenssl) await expectFolderToDecideNothing([join(out, name)], { path: nowhere });
  });
});

describe("the package", () => {
  test.skipIf(isWindows)("has all that its command needs, which finds Bun and fears no folder", async () => {
    await runWell([bun, "pm", "pack", "--quiet", "--destination", folder.path], { cwd: root });
    const packed = join(folder.path, "package");
    await extract({
      file: join(folder.path, `${packageJson.name}-${packageJson.version}.tgz`),
      cwd: folder.path,
    });
    const parts = ["LICENSE", "README.md", "bin", "index.ts", "package.json", "src", "types"];
    expect((await readdir(packed)).sort()).toEqual(parts);
    expect((await readdir(join(packed, "types/src"))).sort()).not.toContain("cli");

    // As an installation does it: beside other packages, with a link on PATH to a file that may be executed.
    const modules = join(folder.path, "project", "node_modules");
    await mkdir(modules, { recursive: true });
    for (const name of await readdir(join(root, "node_modules")))
      if (name !== "@oven" && name !== "bun")
        await symlink(join(root, "node_modules", name), join(modules, name));
    await rename(packed, join(modules, "chunkpush"));
    const command = join(modules, "chunkpush", packageJson.bin.chunkpush);
    await chmod(command, 0o755);
    const [bin, noBun] = [join(folder.path, "bin"), join(folder.path, "no-bun")];
    await mkdir(bin);
    await mkdir(noBun);
    await symlink(command, join(bin, "chunkpush"));
    for (const path of [bin, noBun]) await symlink(node, join(path, "node"));
    await symlink(bun, join(bin, "bun"));

    const work = join(folder.path, "package-work");
    await mkdir(work);
    await expectToWork([join(bin, "chunkpush")], work, bin, "package");
    if (hasOpenssl) await expectFolderToDecideNothing([join(bin, "chunkpush")], { path: bin });

    // Standard input and signals go through. It exits as Bun does.
    for (const [signal, exitCode] of [
      ["SIGHUP", 129],
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const waiting = Bun.spawn([join(bin, "chunkpush"), "--username", "me", `${registry.host}/package:v1`], {
        cwd: work,
        env: { PATH: bin, HOME: work },
        stdin: "pipe",
        stdout: "ignore",
        stderr: "pipe",
      });
      let said = "";
      for await (const piece of waiting.stderr.pipeThrough(new TextDecoderStream())) {
        if (said === "") waiting.kill(signal);
        said += piece;
      }
      expect(said).toContain("Interrupted");
      expect(await waiting.exited).toBe(exitCode);
    }
    const piped = await run([join(bin, "chunkpush"), "--username", "me", `${registry.host}/package:v1`], {
      cwd: work,
      env: { PATH: bin, HOME: work },
      input: "secret\n",
    });
    expect(piped.code, piped.stderr).toBe(0);

    const version = (path: string) => run([join(bin, "chunkpush"), "--version"], { env: { PATH: path } });
    // An old Bun is passed over, and so is what lies in the working folder.
    const old = join(folder.path, "old");
    await mkdir(old);
    await Bun.write(join(old, "bun"), "#!/bin/sh\necho 1.2.3\n");
    await chmod(join(old, "bun"), 0o755);
    expect((await version(`.:${old}:${bin}`)).stdout).toStartWith(
      `chunkpush ${packageJson.version} (Bun ${Bun.version}, `,
    );
    const missing = await version(`${noBun}:${old}`);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toStartWith("Error: chunkpush needs Bun ");
    expect(missing.stderr).toContain(`found only Bun 1.2.3 (${join(old, "bun")})`);
    expect(missing.stderr).toContain(ownBun);
    expect(missing.stderr).toContain("--omit=optional");

    // Its own Bun comes first, and is not asked for its version. yarn 1 installs that for the other C library as well.
    const other = ownBun.endsWith("-musl") ? ownBun.slice(0, -"-musl".length) : `${ownBun}-musl`;
    await Bun.write(join(modules, other, "package.json"), "{}");
    await Bun.write(join(modules, other, "bin/bun"), "");
    const own = join(modules, ownBun, "bin/bun");
    await Bun.write(join(modules, ownBun, "package.json"), "{}");
    await symlink(bun, join(modules, ownBun, "bun"));
    const program = async (script: string) => {
      await Bun.write(own, `#!/bin/sh\n${script}\n`);
      await chmod(own, 0o755);
    };
    await program(`case $* in *--no-env-file*--version) exec "\${0%/*}/../bun" "$@";; *) exit 3;; esac`);
    expect(await version(`${noBun}:${old}`)).toEqual({
      code: 0,
      stdout: expect.stringContaining(`chunkpush ${packageJson.version} `),
      stderr: "",
    });
    // What does not even start makes room for another one, or it says why.
    for (const [script, words] of [
      ["echo no libstdc++ >&2; exit 127", "no libstdc++"],
      ["kill -ILL $$", "SSE4.2"],
    ] as const) {
      await program(script);
      expect((await version(bin)).stdout).toStartWith(
        `chunkpush ${packageJson.version} (Bun ${Bun.version}, `,
      );
      const broken = await version(noBun);
      expect({ code: broken.code, stdout: broken.stdout }).toEqual({ code: 1, stdout: "" });
      expect(broken.stderr).toContain(`Error: Bun does not start here: ${own} (`);
      expect(broken.stderr).toContain(words);
    }
    await chmod(own, 0o644);
    expect((await version(noBun)).stderr).toContain("noexec");
    expect((await version(bin)).stdout).toStartWith(`chunkpush ${packageJson.version} (Bun ${Bun.version}, `);
    // The program that starts, and fails, is not started twice.
    await program(`echo "$*" >>'${own}.log'; exec "\${0%/*}/../bun" "$@"`);
    const failed = await run([join(bin, "chunkpush"), "none.tar", `${registry.host}/package:v1`], {
      cwd: work,
      env: { PATH: bin, HOME: work },
    });
    expect(failed.code, failed.stderr).toBe(1);
    const started = (await Bun.file(`${own}.log`).text()).split("\n");
    expect(started.filter((line) => line.includes("none.tar"))).toHaveLength(1);

    // It has the terminal, whose Ctrl-C counts once: what the launcher passes on comes before it hands on the SIGTERM.
    if (!hasProgram("python3")) return;
    await program(
      `trap 'n=$((n+1)); kill -TERM $PPID' INT; trap 'exit $((40+n))' TERM
      [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo ready; while :; do read -r _; done`,
    );
    const env = { PATH: process.env["PATH"], HOME: work };
    const { screen, code } = await atTerminal([join(bin, "chunkpush")], {
      cwd: work,
      env,
      prompt: "ready",
      keys: "\\x03",
    });
    expect(code, screen).toBe(41);
  });

  const here = join(root, packageJson.bin.chunkpush);
  test("in a checkout, its command has the name that it was started by", async () => {
    const help = (command: string[]) => runWell([...command, "--help"]);
    expect(await help([node, here])).toContain("\n  chunkpush image.tar ");
    expect(await help([bun, join(root, "index.ts")])).toContain("\n  bun run index.ts image.tar ");
  });

  test("pins the Bun that it is tested with, for every system", async () => {
    const { devDependencies, optionalDependencies } = packageJson;
    expect(new Set(Object.values(optionalDependencies))).toEqual(new Set([devDependencies.bun]));
    const lock = await Bun.file(join(root, "bun.lock")).text();
    for (const [name, version] of Object.entries(optionalDependencies))
      expect(lock).toContain(`"${name}": ["${name}@${version}"`);
    expect(Object.keys(optionalDependencies)).toContain(ownBun);
  });
});

/** Runs a script of package.json, without its look at what is installed, and with another output. */
async function build(script: "build" | "compile", out: string): Promise<void> {
  const [, , ...args] = packageJson.scripts[script].replace(/(?<=--outfile=)\S+/, out).split(" ");
  await runWell([bun, ...args], { cwd: root });
}

/** Asks for version and help, and pushes an image whose layers have to be compressed. */
async function expectToWork(
  command: readonly string[],
  cwd: string,
  path: string,
  repository: string,
): Promise<void> {
  const options = { cwd, env: { PATH: path, HOME: cwd } };
  expect(await runWell([...command, "--version"], options)).toStartWith(
    `chunkpush ${packageJson.version} (Bun ${Bun.version}, `,
  );
  const help = await runWell([...command, "--help", "all"], options);
  expect(help).toStartWith("Usage: chunkpush [push] [SOURCE] TARGET [flags]");
  expect(help).toContain("NODE_EXTRA_CA_CERTS");
  expect(help).toContain("\n  chunkpush image.tar registry.example.com/my/app:v1\n");

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
