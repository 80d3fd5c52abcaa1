/** A push that names a source alone, or nothing. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { type CliOptions, cliCommand, cliEnvironment, PROGRAM, runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const DOWN = "\\x1b[B";

async function setUp(names: readonly string[] = ["old.example.com/team/app:v1"], file = "image.tar") {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry({});
  const archive = new Uint8Array(dockerArchive([], names).archive);
  await Bun.write(join(folder.path, file), file.endsWith(".gz") ? Bun.gzipSync(archive) : archive);
  const cli = { cwd: folder.path, env: { PATH: process.env["PATH"] ?? "" } };
  return {
    registry,
    folder: folder.path,
    /** Writes the targets of earlier pushes. */
    async remember(...targets: unknown[]) {
      await mkdir(join(folder.path, ".local/state/chunkpush"), { recursive: true, mode: 0o700 });
      const path = join(folder.path, ".local/state/chunkpush/targets.json");
      await Bun.write(path, JSON.stringify(targets), { mode: 0o600 });
    },
    run: (args: string[], options: Partial<CliOptions> = {}) => runCli(args, { ...cli, ...options }),
    ask: (args: string[], keys: string, prompt = "Where do you want", env = {}) =>
      atTerminal(cliCommand(args), {
        cwd: folder.path,
        env: { ...cliEnvironment(cli), ...env },
        prompt,
        keys,
      }),
    has: async (repository: string, tag: string) =>
      (await registry.pullManifest(repository, tag)) !== undefined,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe.concurrent("without a terminal", () => {
  test.each<[string, string[], string, string]>([
    ["has a name", ["team/app:v1"], "image.tar", "registry.example.com/team/app:v1"],
    ["has a name with a registry", ["old.example.com:5000/a:b"], "image.tar", "registry.example.com/a:b"],
    ["has Podman's name", ["localhost/app:v1"], "image.tar", "registry.example.com/app:v1"],
    ["has a name of Docker Hub", ["docker.io/library/nginx:1"], "image.tar", "registry.example.com/nginx:1"],
    ["has a name that is none", ["Bad//Name:x"], "nginx_latest.tar", "registry.example.com/nginx:latest"],
    ["is untagged", [], "my_app_v1.tar", "registry.example.com/my_app:v1"],
    ["is untagged, with a file name that says nothing", [], "--.tar", "registry.example.com/my/app:v1"],
  ])(
    "an archive without a target that %s is an error with the full command",
    async (_, names, file, target) => {
      await using setup = await setUp(names, file);
      const { code, stdout, stderr } = await setup.run([`./${file}`]);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toContain(`${PROGRAM} ./${file} ${target}\n`);
    },
  );

  test.each<[string, string, string, boolean]>([
    ["a compressed archive", "my_app_v1.tar.gz", "my_app:v1", true],
    ["a compressed archive behind a transport", "docker-archive:my_app_v1.tar.gz", "my_app:v1", true],
    ["an ID of an image", "docker-daemon:0123456789ab", "my/app:v1", false],
    ["a whole ID of an image", `docker-daemon:sha256:${"0".repeat(64)}`, "my/app:v1", false],
    ["a name in an engine", "docker-daemon:team/app:v1", "team/app:v1", false],
  ])(
    "a target is suggested for %s with a fitting name, and a note only where that is the file's",
    async (_, source, name, hasNote) => {
      await using setup = await setUp(["team/app:v1"], "my_app_v1.tar.gz");
      const { code, stderr } = await setup.run([source]);
      expect([code, stderr]).toEqual([
        2,
        expect.stringContaining(`${source} registry.example.com/${name}\n`),
      ]);
      expect(stderr.includes("The suggested name is that of the file.")).toBe(hasNote);
    },
  );

  test("the full command of the error is right for a shell, whatever the file is called", async () => {
    await using setup = await setUp(["a:v1"], "it's here.tar");
    const { stderr } = await setup.run(["it's here.tar"]);
    const [, word = ""] = new RegExp(`${PROGRAM} (.*) registry`).exec(stderr) ?? [];
    const shell = Bun.spawn(["sh", "-c", `printf %s ${word}`], { stdout: "pipe" });
    expect(await shell.stdout.text()).toBe("it's here.tar");
  });

  test("a target is suggested at the last registry, or at that of --registry", async () => {
    await using setup = await setUp();
    await setup.remember("http://last.example.com/x/y:z", "other.example.com/a/b");
    const last = await setup.run(["image.tar"]);
    expect(last.stderr).toContain(`${PROGRAM} image.tar http://last.example.com/team/app:v1\n`);
    const named = await setup.run(["image.tar", "--registry", "localhost:5000"]);
    expect([named.code, named.stderr]).toEqual([2, expect.stringContaining(" localhost:5000/team/app:v1\n")]);
  });

  test("a folder without a target is a source, unless it is named like a target", async () => {
    await using setup = await setUp(["team/app:v1"]);
    await Bun.$`mkdir -p image localhost:1/app && tar -xf image.tar -C image`.cwd(setup.folder).quiet();
    expect((await setup.run(["image"])).stderr).toContain("registry.example.com/team/app:v1");
    const target = await setup.run(["localhost:1/app"], { env: { PATH: "", MAX_RETRIES: "0" } });
    expect(target.stderr).not.toContain("No target was named");
  });

  test("standard input without a target is called by its name, and gets an example at the registry of --registry", async () => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run(["-"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("No target was named for standard input.")]);
    const named = await setup.run(["-", "--registry", "http://localhost:5000"]);
    expect(named.stderr).toContain(`${PROGRAM} - http://localhost:5000/my/app:v1\n`);
  });

  test("output.tar without a target has no source in its full command", async () => {
    await using setup = await setUp(["team/app:v1"], "output.tar");
    const { code, stderr } = await setup.run([]);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`${PROGRAM} registry.example.com/team/app:v1\n`),
    ]);
  });

  test("a plan without a target is an error with the full command of a plan", async () => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run(["plan", "image.tar"]);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`${PROGRAM} plan image.tar registry.example.com/team/app:v1\n`),
    ]);
  });

  test("a text that is neither a source nor a target is refused for want of a registry, and no engine is asked", async () => {
    await using setup = await setUp();
    await Bun.write(join(setup.folder, "bin/docker"), `#!/bin/sh\ntouch asked\n`);
    await chmod(join(setup.folder, "bin/docker"), 0o755);
    const env = { PATH: `${join(setup.folder, "bin")}:${process.env["PATH"]}` };
    const { code, stderr } = await setup.run(["team/app:v1"], { env });
    expect([code, stderr]).toEqual([2, expect.stringContaining("Put the registry in front")]);
    expect(await Bun.file(join(setup.folder, "asked")).exists()).toBe(false);
  });

  test("--registry together with a target is a mistake, and so are wrong flags beside a source", async () => {
    await using setup = await setUp();
    for (const args of [
      ["image.tar", "localhost:1/a", "--registry", "localhost:1"],
      ["image.tar", "--registry", "localhost:1/path"],
      ["image.tar", "--parallel", "many"],
    ]) {
      const { code, stderr } = await setup.run(args);
      expect([args, code]).toEqual([args, 2]);
      expect(stderr).not.toContain("No target was named");
    }
  });
});

describeWith("python3", "at a terminal", () => {
  test("Enter takes the source's name at the last registry", async () => {
    await using setup = await setUp();
    await setup.remember(`${setup.registry.host}/x/y:z`);
    const { code, screen } = await setup.ask(["image.tar"], "\\r");
    expect(code, screen).toBe(0);
    expect(await setup.has("team/app", "v1")).toBe(true);
  });

  test("the last targets are in the list, and the next push offers the new one first", async () => {
    await using setup = await setUp();
    await setup.remember("other.example.com/x/y:z", `${setup.registry.host}/x/y:z`);
    // The name at both registries, and then the targets.
    const { code, screen } = await setup.ask(["image.tar"], `${DOWN.repeat(3)}\\r`);
    expect(code, screen).toBe(0);
    expect(await setup.has("x/y", "z")).toBe(true);
    const next = await setup.run(["image.tar"]);
    expect(next.stderr).toContain(`image.tar ${setup.registry.host}/team/app:v1\n`);
  });

  test("a target is listed once, with the scheme that it had last", async () => {
    await using setup = await setUp();
    const { host } = setup.registry;
    await setup.remember(`http://${host}/x/y:z`, `${host}/x/y:z`, `https://${host}/x/y:z`);
    const { screen } = await setup.ask(["image.tar"], "\\x03");
    for (const target of [`http://${host}/team/app:v1`, `http://${host}/x/y:z`])
      expect(screen).toContain(target);
    for (const other of [` ${host}/`, "https://"]) expect(screen).not.toContain(other);
  });

  test("without earlier pushes the target is typed, and a wrong one is asked for again", async () => {
    await using setup = await setUp();
    const typed = `nothing\\r${"\\x7f".repeat(7)}${setup.registry.host}/typed/app\\r`;
    const { code, screen } = await setup.ask(["image.tar"], typed);
    expect(code, screen).toBe(0);
    expect(await setup.has("typed/app", "latest")).toBe(true);
  });

  test("an image of an engine is pushed to the target that is chosen", async () => {
    await using setup = await setUp();
    await setup.remember(`${setup.registry.host}/x/y:z`);
    const image = dockerArchive([], ["my/app:v1"]);
    await Bun.write(join(setup.folder, "image.tar"), image.archive);
    const inspected = {
      Id: digestOf(image.config),
      RepoTags: ["my/app:v1"],
      Created: "",
      RootFS: { Layers: [] },
    };
    const docker = `#!/bin/sh
      case "$1 $2" in "image inspect") echo '${JSON.stringify([inspected])}' ;; *) cat image.tar ;; esac`;
    await Bun.write(join(setup.folder, "bin/docker"), docker);
    await chmod(join(setup.folder, "bin/docker"), 0o755);
    const env = { PATH: `${join(setup.folder, "bin")}:${process.env["PATH"]}` };
    const { code, screen } = await setup.ask(["my/app:v1"], "\\r", "Where do you want", env);
    expect(code, screen).toBe(0);
    expect(await setup.has("my/app", "v1")).toBe(true);
  });

  test("the ID of an image without a name is not suggested as a name", async () => {
    await using setup = await setUp();
    const id = digestOf("image");
    const inspected = { Id: id, RepoTags: [], Created: "", RootFS: { Layers: [] } };
    await Bun.write(join(setup.folder, "bin/docker"), `#!/bin/sh\necho '${JSON.stringify([inspected])}'\n`);
    await chmod(join(setup.folder, "bin/docker"), 0o755);
    const env = { PATH: `${join(setup.folder, "bin")}:${process.env["PATH"]}` };
    const source = id.slice("sha256:".length, "sha256:".length + 12);
    const { code, screen } = await setup.ask([source], "\\x03", "Where do you want", env);
    expect(code).toBe(130);
    expect(screen).not.toContain(`/${source}`);
    expect(screen).not.toContain("The suggested name");
  });

  test("names from the archive and from the list of targets cannot steer the terminal", async () => {
    await using setup = await setUp(["a\x1b]0;owned\x07/b:v1"], "x\x1b]0;owned\x07.tar");
    await setup.remember("r.example.com/a\x1b]0;owned\x07:v1", "r.example.com/\u202etar:v1");
    const { screen } = await setup.ask(["x\x1b]0;owned\x07.tar"], "\\x03");
    expect(screen).not.toContain("\x1b]0;owned");
    expect(screen).not.toContain("\u202e");
  });

  test("a plan without a target asks for one, and leaves the list of last targets as it was", async () => {
    await using setup = await setUp();
    await setup.remember(`${setup.registry.host}/x/y:z`);
    const { code, screen } = await setup.ask(["plan", "image.tar"], "\\r");
    expect(code, screen).toBe(0);
    const next = await setup.run(["image.tar"], { env: { PATH: "" } });
    expect(next.stderr).toContain(`image.tar ${setup.registry.host}/team/app:v1\n`);
    expect(await Bun.file(join(setup.folder, ".local/state/chunkpush/targets.json")).json()).toHaveLength(1);
    expect(await setup.has("team/app", "v1")).toBe(false);
  });

  test("Ctrl-C at the question for a target pushes nothing", async () => {
    await using setup = await setUp();
    await setup.remember(`${setup.registry.host}/x/y:z`);
    const { code } = await setup.ask(["image.tar"], "\\x03");
    expect([code, setup.registry.requests.length]).toEqual([130, 0]);
  });
});
