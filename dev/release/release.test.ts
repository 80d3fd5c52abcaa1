/** The dry run of a release: all of it but the publishing. The executable of this machine then does what users do. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { copyFile, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import packageJson from "../../package.json";
import { RUNS_ALL } from "../../test/support/all-tests.ts";
import { type CommandResult, run, runWell } from "../../test/support/command.ts";
import { type TemporaryFolder, temporaryFolder } from "../../test/support/temporary-folder.ts";
import { compile } from "./compile.ts";
import { formatOf } from "./format.ts";
import { sign } from "./mach-signature.ts";
import { fileOf, TARGETS } from "./targets.ts";

setDefaultTimeout(300_000);

const ROOT = join(import.meta.dir, "../..");
const SCRIPT = join(ROOT, "dev/release/release.ts");
const HERE = TARGETS.find(({ platform }) => platform === `linux-${process.arch}`);

/** The end-to-end tests that differ most in what they need of the executable. */
const END_TO_END = ["artifacts", "logins", "nginx", "podman", "registry-access", "registry-source"];

const reason = await whyNot();

async function whyNot(): Promise<string | undefined> {
  if (!RUNS_ALL) return "npm test -- --all makes one";
  if (process.platform !== "linux") return "releases are made on Linux";
  if (process.env["CI"]) return undefined;
  if (Bun.which("npm") === null) return "needs npm";
  return (await start(["npm", "ping"])).code === 0 ? undefined : "needs npm's registry";
}

/** Runs a command in this process's environment, which knows where npm's registry is. */
async function start(command: readonly string[]): Promise<CommandResult> {
  const env = Object.fromEntries(Object.entries(process.env).map(([name, value = ""]) => [name, value]));
  return await run(command, { cwd: ROOT, env });
}

async function release(...args: readonly string[]): Promise<CommandResult> {
  return await start([process.execPath, SCRIPT, ...args]);
}

test("A release fails if its tag is not the version of package.json", async () => {
  const { code, stderr } = await release("--tag", "v999.0.0", "--out", "/nowhere");
  expect(stderr).toBe(
    `The tag is v999.0.0, but package.json says ${packageJson.version}. Tag v${packageJson.version}, or change the version.\n`,
  );
  expect(code).toBe(1);
});

describe.skipIf(reason !== undefined)(`a dry run${reason ? ` (${reason})` : ""}`, () => {
  let folder: TemporaryFolder;
  const at = (name: string) => join(folder.path, "release", name);
  beforeAll(async () => {
    folder = await temporaryFolder();
    const { code, stderr } = await release("--out", join(folder.path, "release"));
    expect(code, stderr).toBe(0);
  });
  afterAll(() => folder?.[Symbol.asyncDispose]());

  test("makes executables, licences and notes, with a checksum of each file that is published", async () => {
    const published = [...TARGETS.map(fileOf), "LICENSES.txt"];
    expect((await readdir(join(folder.path, "release"))).sort()).toEqual(
      [...published, "SHA256SUMS", "notes.md"].sort(),
    );
    const sums = await Promise.all(
      published.map(async (name) => {
        const hash = createHash("sha256").update(await readFile(at(name)));
        return `${hash.digest("hex")}  ${name}\n`;
      }),
    );
    expect(await readFile(at("SHA256SUMS"), "utf8")).toBe(sums.join(""));
    expect(await readFile(at("notes.md"), "utf8")).toContain("\n- ");
  });

  test("makes executables of the format, the processor and the C library that their names say", async () => {
    for (const target of TARGETS) {
      const found = formatOf(await readFile(at(fileOf(target))));
      expect(`${target.platform}: ${found}`).toBe(`${target.platform}: ${target.format}`);
    }
  });

  test("replaces the wrong signature that Bun leaves in the executable for macOS on x64", async () => {
    const signed = await readFile(at("chunkpush-darwin-arm64"));
    expect(() => formatOf(sign(signed))).not.toThrow();
    for (const offset of [0x30, 50_000, signed.length >> 1]) {
      const changed = Buffer.from(signed);
      changed.writeUInt8(changed.readUInt8(offset) ^ 1, offset);
      expect(() => formatOf(changed)).toThrow("the signature is that of other bytes");
      expect(() => formatOf(sign(changed))).not.toThrow();
    }
  });

  describe.skipIf(HERE === undefined)("makes an executable for this machine", () => {
    const target = HERE as (typeof TARGETS)[number];
    const executable = () => at(fileOf(target));

    test("that has the same bytes when it is built again", async () => {
      await using again = await temporaryFolder();
      const file = await compile(target, process.execPath, again.path);
      expect((await readFile(file)).equals(await readFile(executable()))).toBe(true);
    });

    test("that prints its version without a Bun on the machine", async () => {
      await using alone = await temporaryFolder();
      const copy = join(alone.path, "chunkpush");
      await copyFile(executable(), copy);
      const env = { PATH: alone.path };
      expect(await runWell([copy, "--version"], { env })).toStartWith(
        `chunkpush ${packageJson.version} (Bun ${Bun.version}, `,
      );
    });

    test("that runs the demo", async () => {
      const demo = [process.execPath, join(ROOT, "dev/demo/demo.ts"), executable()];
      expect(await runWell(demo)).toContain("Every digest matches.");
    });

    test("that passes end-to-end tests in place of the sources", async () => {
      const files = END_TO_END.map((name) => `test/e2e/${name}.test.ts`);
      const { CI = "", HOME = "/" } = process.env;
      const { code, stderr } = await run([process.execPath, "test", "--timeout", "120000", ...files], {
        cwd: ROOT,
        env: { HOME, ...(CI && { CI }), CHUNKPUSH_TEST_COMMAND: executable() },
      });
      expect(code, stderr).toBe(0);
    });
  });
});
