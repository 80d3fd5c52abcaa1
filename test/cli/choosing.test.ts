/** Which image of a source is pushed, as a user sees it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { digestOf, hexOf } from "../../src/oci/digest.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { describeWith } from "../support/needs.ts";
import { type CliOptions, cliCommand, cliEnvironment, runCli } from "../support/run-cli.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

/** An image without layers, told apart by its config. */
function configOf(number: number): string {
  return JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { diff_ids: [] }, number });
}

/** An archive of several images, each with its names. */
function archiveOf(names: readonly (readonly string[])[]): Uint8Array<ArrayBuffer> {
  const images = names.map((RepoTags, i) => ({
    Config: `${hexOf(digestOf(configOf(i)))}.json`,
    RepoTags,
    Layers: [],
  }));
  return tarBytes([
    ...images.map(({ Config }, i) => ({ path: Config, body: configOf(i) })),
    { path: "manifest.json", body: JSON.stringify(images) },
  ]);
}

async function setUp(
  names: readonly (readonly string[])[],
  options: Parameters<typeof startTestRegistry>[0] = {},
) {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry(options);
  await Bun.write(join(folder.path, "output.tar"), archiveOf(names));
  return {
    registry,
    folder: folder.path,
    target: `${registry.host}/my/app:v1`,
    run: (args: string[], cli: Partial<CliOptions> = {}) => runCli(args, { cwd: folder.path, ...cli }),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Which of the images is tagged. */
async function pushed(registry: TestRegistry, tag = "v1"): Promise<number | undefined> {
  const manifest = await registry.pullManifest("my/app", tag);
  if (manifest === undefined) return undefined;
  const config = await registry.pullBlob("my/app", JSON.parse(manifest).config.digest);
  return JSON.parse(Buffer.from(config).toString()).number;
}

describe.concurrent("A push of an archive with several images", () => {
  test.each([
    ["docker", ["other:v1", "my/app:v1", "my/app:v2"]],
    ["podman", ["localhost/other:v1", "localhost/my/app:v1", "localhost/my/app:v2"]],
    ["containerd", ["docker.io/library/other:v1", "docker.io/my/app:v1", "docker.io/my/app:v2"]],
  ])("takes the image with the target's name, as %s writes names", async (_, names) => {
    await using setup = await setUp(names.map((name) => [name]));
    const { code, stderr } = await setup.run([setup.target]);
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain("Note:");
    expect(await pushed(setup.registry)).toBe(1);
  });

  test("does not guess, and fails with the flags that push each", async () => {
    await using setup = await setUp([["a:v1"], ["it's b:v1", "c:v2"], []]);
    const { code, stdout, stderr } = await setup.run([setup.target]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(await pushed(setup.registry)).toBeUndefined();
    const flags = [...stderr.matchAll(/--image ('(?:[^']|'\\'')*'|[^\s,]+)/g)].map(([, word = ""]) => word);
    expect(flags).toHaveLength(3);
    for (const [i, word] of flags.entries()) {
      const shell = ["sh", "-c", `printf %s ${word}`];
      const name = await new Response(Bun.spawn(shell, { stdout: "pipe" }).stdout).text();
      expect((await setup.run(["--image", name, setup.target])).code).toBe(0);
      expect(await pushed(setup.registry)).toBe(i);
    }
  });

  test("fails for an unknown --image with the images that there are", async () => {
    await using setup = await setUp([["a:v1"], ["b:v1"]]);
    const { code, stderr } = await setup.run(["--image", "c:v1", setup.target]);
    expect(code).toBe(1);
    for (const name of ["a:v1", "b:v1", "c:v1"]) expect(stderr).toContain(name);
    expect(setup.registry.recorded("put-manifest")).toEqual([]);
  });
});

test("With --runtime, no other engine is asked for an image", async () => {
  await using setup = await setUp([]);
  const bin = join(setup.folder, "bin");
  for (const name of ["docker", "podman"]) {
    await Bun.write(
      join(bin, name),
      `#!/bin/sh\necho ${name} >> '${setup.folder}/asked'\necho "image not known" >&2; exit 1\n`,
    );
    await chmod(join(bin, name), 0o755);
  }
  const env = { PATH: `${bin}:${process.env["PATH"]}`, CHUNKPUSH_RUNTIME: "docker" };
  const { code, stderr } = await setup.run(["--runtime", "podman", "my/app:v1", setup.target], { env });
  expect(code).toBe(1);
  expect(stderr).toContain('has no image "my/app:v1"');
  expect(new Set((await Bun.file(join(setup.folder, "asked")).text()).trim().split("\n"))).toEqual(
    new Set(["podman"]),
  );
});

describeWith("python3", "A question at a terminal which image to push", () => {
  const ask = (setup: Awaited<ReturnType<typeof setUp>>, keys: string, env = {}) =>
    atTerminal(cliCommand([setup.target]), {
      cwd: setup.folder,
      env: cliEnvironment({ cwd: setup.folder, env }),
      prompt: "Which image",
      keys,
    });

  test("shows a list, and the chosen image is pushed", async () => {
    await using setup = await setUp([["a:v1"], ["b:v1"], ["c:v1"]]);
    const { screen, code } = await ask(setup, "\\x1b[B\\r");
    expect(code, screen).toBe(0);
    for (const name of ["a:v1", "b:v1", "c:v1"]) expect(screen).toContain(name);
    expect(screen).toContain(`→ ${setup.target}`);
    expect(await pushed(setup.registry)).toBe(1);
  });

  test("escapes control characters in the names", async () => {
    await using setup = await setUp([["a\x1b]0;owned\x07:v1"], ["b:v1"]]);
    const { screen, code } = await ask(setup, "\\r");
    expect(code, screen).toBe(0);
    expect(screen).not.toContain("\x1b]0;owned");
    expect(screen).toContain("\\x1b]0;owned");
  });

  test("ends at Ctrl-C, and nothing is pushed", async () => {
    await using setup = await setUp([["a:v1"], ["b:v1"]]);
    const { screen, code } = await ask(setup, "\\x03");
    expect(code).toBe(130);
    expect(screen).toContain("Interrupted");
    expect(setup.registry.recorded("put-manifest")).toEqual([]);
  });

  test("ends when the registry refuses the credentials", async () => {
    await using setup = await setUp([["a:v1"], ["b:v1"]], {
      credentials: { username: "me", password: "right" },
    });
    const { screen, code } = await ask(setup, "", { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "wrong" });
    expect(code).toBe(1);
    expect(screen).toContain("does not accept");
  });
});
