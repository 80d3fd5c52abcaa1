/** `--digestfile`, as a script uses it. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { posixOnly } from "../support/needs.ts";
import { runCli } from "../support/run-cli.ts";
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
    run: (file: string, ...targets: string[]) => {
      const all = targets.length > 0 ? targets : [`${registry.host}/my/app:v1`];
      return runCli(["--digestfile", file, ...all.flatMap((target) => ["-t", target])], { cwd: path });
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

test("The file has the digest alone after a push, and replaces an older one", async () => {
  await using setup = await setUp();
  await Bun.write(join(setup.path, "digest"), "older and longer ".repeat(20));
  const { code, stderr } = await setup.run("digest");
  expect(code, stderr).toBe(0);
  const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
  expect(await Bun.file(join(setup.path, "digest")).text()).toBe(digest);
  expect((await readdir(setup.path)).filter((name) => name.includes("tmp"))).toEqual([]);
});

test("The file stays as it was if a target fails, also where another was published", async () => {
  await using setup = await setUp();
  await using refusing = await startTestRegistry({
    intercept: (_, kind) => (kind === "put-manifest" ? new Response("No.", { status: 403 }) : undefined),
  });
  await Bun.write(join(setup.path, "digest"), "older");
  const targets = [`${setup.registry.host}/my/app:v1`, `${refusing.host}/my/app:v1`];
  expect((await setup.run("digest", ...targets)).code).toBe(1);
  expect(await Bun.file(join(setup.path, "digest")).text()).toBe("older");
});

test("A file that cannot be written fails before anything is sent", async () => {
  await using setup = await setUp();
  const { code, stderr } = await setup.run("missing/digest");
  expect({ code, isTold: stderr.includes("--digestfile") }).toEqual({ code: 1, isTold: true });
  expect(setup.registry.requests).toEqual([]);
});

test.skipIf(!posixOnly())("A named pipe is written to, and not replaced", async () => {
  await using setup = await setUp();
  await Bun.spawn(["mkfifo", join(setup.path, "pipe")]).exited;
  const reader = Bun.spawn(["cat", join(setup.path, "pipe")], { stdout: "pipe" });
  const { code, stderr } = await setup.run("pipe");
  expect(code, stderr).toBe(0);
  const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
  expect(await reader.stdout.text()).toBe(digest);
});

test.each(["folder", "folder/", "missing/"])("A folder is refused before the push: %s", async (file) => {
  await using setup = await setUp();
  await Bun.write(join(setup.path, "folder/file"), "");
  const { code, stdout, stderr } = await setup.run(file);
  expect([code, stdout], stderr).toEqual([1, ""]);
  expect(stderr).toContain("[FILE_FAILED]");
  expect(setup.registry.requests.filter(({ method }) => method === "PUT")).toEqual([]);
});
