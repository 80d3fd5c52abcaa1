/** `--digestfile`, as a script uses it. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { lstat, mkdir, readdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { run } from "../support/command.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { posixOnly } from "../support/needs.ts";
import { cliCommand, cliEnvironment, runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(60_000);

const IMAGE = dockerArchive([seededLayer(1, 1)], ["my/app:v1"]);

async function setUp(options: Parameters<typeof startTestRegistry>[0] = {}) {
  const resources = new AsyncDisposableStack();
  const { path } = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry(options));
  await Bun.write(join(path, "output.tar"), IMAGE.archive);
  return {
    path,
    registry,
    run: (file: string, targets: readonly string[] = [], env: Record<string, string> = {}) => {
      const all = targets.length > 0 ? targets : [`${registry.host}/my/app:v1`];
      return runCli(["--digestfile", file, ...all.flatMap((target) => ["-t", target])], { cwd: path, env });
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

test("The digest file has the digest alone after a push, and replaces an older one", async () => {
  await using setup = await setUp();
  await Bun.write(join(setup.path, "digest"), "older and longer ".repeat(20));
  const { code, stderr } = await setup.run("digest");
  expect(code, stderr).toBe(0);
  const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
  expect(await Bun.file(join(setup.path, "digest")).text()).toBe(digest);
  expect((await readdir(setup.path)).filter((name) => name.includes("tmp"))).toEqual([]);
});

test("The digest file stays as it was if a target fails, also where another was published", async () => {
  await using setup = await setUp();
  await using refusing = await startTestRegistry({
    intercept: (_, kind) => (kind === "put-manifest" ? new Response("No.", { status: 403 }) : undefined),
  });
  await Bun.write(join(setup.path, "digest"), "older");
  const targets = [`${setup.registry.host}/my/app:v1`, `${refusing.host}/my/app:v1`];
  expect((await setup.run("digest", targets)).code).toBe(1);
  expect(await Bun.file(join(setup.path, "digest")).text()).toBe("older");
});

test.each(["missing/digest", "/dev/fd/99"])(
  "A digest file that cannot be written fails the push before anything is sent: %s",
  async (file) => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run(file);
    expect({ code, isTold: stderr.includes("--digestfile") }).toEqual({ code: 1, isTold: true });
    expect(setup.registry.requests).toEqual([]);
  },
);

test.skipIf(!posixOnly())("A named pipe as digest file is written to, and not replaced", async () => {
  await using setup = await setUp();
  await Bun.spawn(["mkfifo", join(setup.path, "pipe")]).exited;
  const reader = Bun.spawn(["cat", join(setup.path, "pipe")], { stdout: "pipe" });
  const { code, stderr } = await setup.run("pipe");
  expect(code, stderr).toBe(0);
  const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
  expect(await reader.stdout.text()).toBe(digest);
});

test.skipIf(!posixOnly())(
  "A link as digest file is written through, also where nothing is at its end yet",
  async () => {
    await using setup = await setUp();
    await mkdir(join(setup.path, "there/links"), { recursive: true });
    await Bun.write(join(setup.path, "there/old"), "older");
    await symlink("../old", join(setup.path, "there/links/old"));
    await symlink("../new", join(setup.path, "there/links/new"));
    // The links' own targets are relative to the folder behind this one.
    await symlink("there/links", join(setup.path, "links"));
    for (const name of ["old", "new"]) {
      const { code, stderr } = await setup.run(`links/${name}`);
      expect(code, stderr).toBe(0);
      const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
      expect(await Bun.file(join(setup.path, "there", name)).text()).toBe(digest);
      expect((await lstat(join(setup.path, "there/links", name))).isSymbolicLink()).toBe(true);
    }
    expect((await readdir(join(setup.path, "there"))).toSorted()).toEqual(["links", "new", "old"]);
  },
);

test.skipIf(process.platform !== "linux").each([
  ["/proc/self/fd/1", ">>"],
  ["/dev/stdout", ">"],
  ["link", ">>"],
])(
  "Standard output as digest file is written to, and its file is not replaced: %s, after %s",
  async (file, redirection) => {
    await using setup = await setUp();
    await Bun.write(join(setup.path, "out"), "before\n");
    await symlink("/proc/self/fd/1", join(setup.path, "link"));
    const args = ["--digestfile", file, `${setup.registry.host}/my/app:v1`];
    const command = ["sh", "-c", `"$@" ${redirection} out`, "sh", ...cliCommand(args)];
    const { code, stderr } = await run(command, {
      cwd: setup.path,
      env: cliEnvironment({ cwd: setup.path }),
    });
    expect(code, stderr).toBe(0);
    const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
    expect(await Bun.file(join(setup.path, "out")).text()).toBe(
      `${redirection === ">" ? "" : "before\n"}${setup.registry.host}/my/app:v1@${digest}\n${digest}`,
    );
  },
);

test.skipIf(!posixOnly())(
  "A digest file that is a link in circles fails the push before anything is sent",
  async () => {
    await using setup = await setUp();
    await symlink("circle", join(setup.path, "circle"));
    const { code, stderr } = await setup.run("circle");
    expect([code, stderr]).toEqual([1, expect.stringContaining("[FILE_FAILED]")]);
    expect(setup.registry.requests).toEqual([]);
  },
);

test("GitHub Actions get their outputs where the digest file cannot be written after the push, and the command fails", async () => {
  await using setup = await setUp({
    // The folder goes while the image is pushed.
    intercept: async (_, kind) => {
      if (kind === "put-manifest") await rm(join(setup.path, "gone"), { recursive: true });
      return undefined;
    },
  });
  await mkdir(join(setup.path, "gone"));
  const env = { GITHUB_ACTIONS: "true", GITHUB_OUTPUT: join(setup.path, "outputs") };
  const { code, stdout, stderr } = await setup.run("gone/digest", [], env);
  expect([code, stderr]).toEqual([1, expect.stringContaining("FILE_FAILED")]);
  const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
  expect(stdout).toContain(digest);
  expect(await Bun.file(env.GITHUB_OUTPUT).text()).toStartWith(`digest=${digest}\n`);
});

test.each(["folder", "folder/", "missing/"])(
  "A folder as digest file is refused before the push: %s",
  async (file) => {
    await using setup = await setUp();
    await Bun.write(join(setup.path, "folder/file"), "");
    const { code, stdout, stderr } = await setup.run(file);
    expect([code, stdout], stderr).toEqual([1, ""]);
    expect(stderr).toContain("[FILE_FAILED]");
    expect(setup.registry.requests.filter(({ method }) => method === "PUT")).toEqual([]);
  },
);
