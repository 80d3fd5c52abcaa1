/** The package as a library: installed from its tarball into a project of its own. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import packageJson from "../../package.json";
import { RUNS_ALL } from "../support/all-tests.ts";
import { run, runWell } from "../support/command.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(120_000);

const root = join(import.meta.dir, "../..");
const bun = process.execPath;
const image = dockerArchive([seededLayer(300_000, "library")], ["team/app:v1"]);

const PROGRAM = `
import { push, PushError, type PushEvent, type PushOptions, type Pushed } from "chunkpush";

const states: string[] = [];
const options: PushOptions = {
  source: "output.tar",
  target: process.argv[2] ?? "",
  login: { credentials: { username: "me", password: "x" } },
  report: (event: PushEvent) => {
    if (event.type === "blob" && event.state === "done") states.push(\`\${event.title.split(" ")[0]} \${event.how}\`);
  },
};
try {
  const pushed: Pushed = await push(options);
  console.log(JSON.stringify({ ...pushed, states: states.sort() }));
} catch (error) {
  if (!(error instanceof PushError)) throw error;
  console.log(error.code);
}
`;

describe("a project that depends on chunkpush", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let project: TemporaryFolder;
  let registry: StrictRegistry;
  const at = (name: string) => join(project.path, name);
  const installed = () => at("node_modules/chunkpush");
  const runProgram = (target: string) => run([bun, "program.ts", target], { cwd: project.path });

  beforeAll(async () => {
    project = resources.use(await temporaryFolder());
    registry = resources.use(await startStrictRegistry({ directory: at("registry") }));
    await Bun.write(at("output.tar"), image.archive);
    await Bun.write(at("program.ts"), PROGRAM);
    await Bun.write(at("package.json"), '{ "name": "project", "private": true, "type": "module" }');
    const environment = { env: { HOME: process.env["HOME"] ?? project.path } };
    await runWell([bun, "pm", "pack", "--quiet", "--destination", project.path], {
      cwd: root,
      ...environment,
    });
    const tarball = at(`${packageJson.name}-${packageJson.version}.tgz`);
    await runWell([bun, "add", "--prefer-offline", tarball], { cwd: project.path, ...environment });
  });

  test("gets the script, the sources and the types, and nothing of the checkout", async () => {
    const files = await readdir(installed());
    expect(files.filter((name) => name !== "node_modules" && name !== ".bun-tag").sort()).toEqual(
      ["LICENSE", "README.md", "bin", "index.ts", "package.json", "src", "types"].sort(),
    );
    expect(await readdir(at("node_modules"))).not.toContain("bun");
  });

  test("pushes, and is told of every blob by its title", async () => {
    const target = `${registry.host}/library/app:v1`;
    const { code, stdout, stderr } = await runProgram(target);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      reference: target,
      digest: expect.stringMatching(/^sha256:/),
      states: ["config sent", "layer sent"],
    });
  });

  test("gets an error with a code, and goes on by itself", async () => {
    const { code, stdout, stderr } = await runProgram("no-host/app:v1");
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "REFERENCE_INVALID\n", stderr: "" });
  });

  const resolutions = [
    ["bundler", "esnext"],
    ["nodenext", "nodenext"],
  ] as const;
  test.each(resolutions.slice(RUNS_ALL ? 0 : 1))(
    "passes a strict type check with module resolution %s",
    async (resolution, module) => {
      const tsc = [bun, join(root, "node_modules/typescript/bin/tsc"), "--strict", "--noEmit"];
      const flags = ["--target", "esnext", "--module", module, "--moduleResolution", resolution];
      // The program's own use of process needs types; those of chunkpush must not.
      const declared = "declare const process: { argv: string[] };\n";
      await Bun.write(at("checked.ts"), declared + PROGRAM);
      const good = await run([...tsc, ...flags, "--types", "", "checked.ts"], { cwd: project.path });
      expect(good.stdout + good.stderr).toBe("");
      await Bun.write(at("wrong.ts"), declared + PROGRAM.replace("target:", "tarrget:"));
      const wrong = await run([...tsc, ...flags, "--types", "", "wrong.ts"], { cwd: project.path });
      expect(wrong.stdout).toContain("tarrget");
    },
  );

  test("imports it without a printed word, a read variable, a command loaded or an exit", async () => {
    await Bun.write(
      at("import.ts"),
      `
const read: string[] = [];
const real = process.env;
process.env = new Proxy(real, { get: (env, name) => (read.push(String(name)), Reflect.get(env, name)) });
await import("chunkpush");
process.env = real;
const loaded = (room: string) => Object.keys(require.cache).some((path) => path.includes(\`/src/\${room}/\`));
console.log(JSON.stringify({ read, push: loaded("push"), cli: loaded("cli") }));
`,
    );
    const { code, stdout, stderr } = await run([bun, "import.ts"], { cwd: project.path });
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `${JSON.stringify({ read: [], push: true, cli: false })}\n`,
      stderr: "",
    });
  });
});
