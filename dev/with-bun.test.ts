/** The first command in a fresh clone, for real: nothing but Node and npm on PATH, and no install script allowed. */
import { afterAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import manifest from "../package.json";

const root = join(import.meta.dir, "..");
const isWindows = process.platform === "win32";
const node = Bun.which("node");
const npm = Bun.which("npm");
const temporary = await mkdtemp(join(tmpdir(), "chunkpush-with-bun-"));
afterAll(() => rm(temporary, { recursive: true, force: true }));

const env = await onlyNodeAndNpm();
const { CI } = process.env;
const missing = await whatIsMissing();

describe.skipIf(missing !== undefined && !CI)(missing ? `with-bun (needs ${missing})` : "with-bun", () => {
  test("dev/with-bun installs Bun and the packages once, and passes the exit code on", async () => {
    const clone = await freshClone("good");
    const print = "console.log(Bun.version, Bun.which('bun') === process.execPath); process.exit(7)";

    const first = await withBun(clone, "-e", print);
    expect(first.stderr).toContain("Installing the packages");
    expect(first.stdout).toBe(`${manifest.devDependencies.bun} true\n`);
    expect(first.code).toBe(7);
    expect(await readdir(join(clone, "node_modules"))).toContain("valibot");

    expect(await withBun(clone, "-e", print)).toEqual({ ...first, stderr: "" });
    if (!isWindows) {
      expect((await withBun(clone, "-e", "process.kill(process.pid, 'SIGKILL')")).code).toBe(128 + 9);
    }
  });

  test("dev/with-bun refuses a Bun whose hash is not the locked one", async () => {
    const clone = await freshClone("bad");
    const lock = Bun.file(join(clone, "bun.lock"));
    const wrong = `"sha512-${Buffer.alloc(64).toString("base64")}"`;
    await lock.write((await lock.text()).replace(/(?<="@oven\/bun-.*)"sha512-[^"]*"/g, wrong));

    const { code, stderr } = await withBun(clone, "-e", "console.log('ran')");
    expect(stderr).toContain("EINTEGRITY");
    expect(stderr).toContain("Could not get Bun");
    expect(code).toBe(1);
    expect(await readdir(join(clone, "node_modules"), { recursive: true })).toEqual(["@oven"]);
  });
});

/** This process's environment with a PATH that leads to Node and npm, but to no Bun. */
async function onlyNodeAndNpm(): Promise<Record<string, string | undefined>> {
  const rest = Object.entries(process.env).filter(([name]) => name.toUpperCase() !== "PATH");
  const base = { ...Object.fromEntries(rest), npm_config_ignore_scripts: "true" };
  if (!node || !npm) return base;
  if (isWindows) return { ...base, PATH: dirname(node) };
  const bin = join(temporary, "bin");
  await mkdir(bin);
  await symlink(node, join(bin, "node"));
  await symlink(npm, join(bin, "npm"));
  return { ...base, PATH: bin };
}

async function whatIsMissing(): Promise<string | undefined> {
  if (!node || !npm) return "node and npm on PATH";
  const view = Bun.spawn([npm, "view", "bun", "version", "--fetch-retries=0"], {
    env,
    stdio: ["ignore", "ignore", "ignore"],
  });
  return (await view.exited) === 0 ? undefined : "npm's package registry, which did not answer";
}

async function freshClone(name: string): Promise<string> {
  const clone = join(temporary, name);
  for (const file of ["package.json", "bun.lock", ".npmrc", "dev/with-bun.mjs", "bin"]) {
    await cp(join(root, file), join(clone, file), { recursive: true });
  }
  return clone;
}

async function withBun(clone: string, ...args: string[]) {
  if (missing) throw new Error(`This test needs ${missing}.`);
  const child = Bun.spawn(["node", "dev/with-bun.mjs", ...args], {
    cwd: clone,
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { stdout, stderr, code };
}
