/** An archive that nobody named, and that may not be the image that is meant. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, utimes } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { type CliOptions, cliCommand, cliEnvironment, PROGRAM, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const HOUR_MS = 3_600_000;
const IMAGE = dockerArchive([seededBytes(2000, 1)], ["old/app:v1"]);

const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR_MS);

async function setUp({ name = "old/app:v1", hours = 0, date = hoursAgo(hours), file = "output.tar" } = {}) {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry({});
  const image = dockerArchive([seededBytes(2000, 1)], [name]);
  const path = join(folder.path, file);
  await Bun.write(path, file.endsWith(".gz") ? Bun.gzipSync(new Uint8Array(image.archive)) : image.archive);
  await utimes(path, date, date);
  const bin = join(folder.path, "bin");
  /** Puts an engine's command in the way, which answers with these lines of shell. */
  const engine = async (runtime: string, lines: string) => {
    await Bun.write(join(bin, runtime), `#!/bin/sh\n${lines}\n`);
    await chmod(join(bin, runtime), 0o755);
  };
  for (const runtime of ["docker", "podman", "nerdctl"]) await engine(runtime, LACKS);
  const target = `${registry.host}/my/app:v1`;
  const cli = { cwd: folder.path, env: { PATH: `${bin}:${process.env["PATH"]}` } };
  return {
    registry,
    target,
    engine,
    folder: folder.path,
    tags: () => registry.recorded("put-manifest").length,
    run: (args: string[] = [target], options: Partial<CliOptions> = {}) =>
      runCli(args, { ...cli, ...options }),
    ask: (keys: string, { prompt = "anyway?", args = [target], env = {}, input = "" } = {}) =>
      atTerminal(["sh", "-c", `${input}"$@"`, "sh", ...cliCommand(args)], {
        cwd: folder.path,
        env: { ...cliEnvironment(cli), ...env },
        prompt,
        keys,
      }),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const LACKS = `echo "Error: No such image" >&2; exit 1`;

/** The lines of an engine that has one image. */
function has(name: string, created: Date, id = digestOf("another image")): string {
  const inspected = { Id: id, RepoTags: [name], Created: created.toISOString(), RootFS: { Layers: [] } };
  return `for last; do :; done; [ "$last" = "${name}" ] && echo '${JSON.stringify([inspected])}' || { ${LACKS}; }`;
}

describe.concurrent("without a terminal", () => {
  test("an old archive of another name is pushed with a warning: its age, its names, and the command for another image", async () => {
    await using setup = await setUp({ hours: 50 });
    const { code, stderr } = await setup.run();
    expect([code, setup.tags()]).toEqual([0, 1]);
    const [warning = ""] = /^.*Warning:.*$/m.exec(stderr) ?? [];
    for (const fact of ["output.tar", "2 days ago", "old/app:v1", `${PROGRAM} my/app:v1 ${setup.target}`])
      expect(warning).toContain(fact);
  });

  test("a warning shows the command for another image with the target as the user wrote it, with its scheme", async () => {
    await using setup = await setUp({ hours: 50 });
    const { code, stderr } = await setup.run([`http://${setup.target}`]);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain(`${PROGRAM} my/app:v1 http://${setup.target}`);
  });

  test("an old .output-image of another name is pushed with a warning as well", async () => {
    await using setup = await setUp({ file: "image.tar" });
    const folder = join(setup.folder, ".output-image");
    await Bun.$`mkdir ${folder} && tar -xf ${join(setup.folder, "image.tar")} -C ${folder}`.quiet();
    await utimes(folder, hoursAgo(2), hoursAgo(2));
    const { code, stderr } = await setup.run();
    expect([code, setup.tags()]).toEqual([0, 1]);
    expect(stderr).toContain("Warning: .output-image was written 2 hours ago and contains old/app:v1");
  });

  test.each([
    ["is younger than an hour", { hours: 0.9 }, "Warning: output.tar contains old/app:v1"],
    [
      "has no date that makes sense",
      { date: new Date(1000) },
      "Warning: output.tar has no date and contains",
    ],
  ])("an archive of another name that %s has its own warning", async (_, facts, warning) => {
    await using setup = await setUp(facts);
    const { code, stderr } = await setup.run();
    expect([code, setup.tags()]).toEqual([0, 1]);
    expect(stderr).toContain(warning);
  });

  test("no warning is due for an old archive that is named like the target, or that the user named", async () => {
    await using named = await setUp({ hours: 50, name: "my/app:v1" });
    await using other = await setUp({ hours: 50 });
    for (const { code, stderr } of [await named.run(), await other.run(["output.tar", other.target])]) {
      expect(code).toBe(0);
      expect(stderr).not.toContain("Warning:");
    }
  });

  test.each(["docker", "podman", "nerdctl"])(
    "a warning names a newer image that %s has, and the command that pushes it",
    async (runtime) => {
      await using setup = await setUp({ hours: 0.5, name: "my/app:v1" });
      await setup.engine(runtime, has(setup.target, hoursAgo(0.1)));
      const { code, stderr } = await setup.run();
      expect([code, setup.tags()]).toEqual([0, 1]);
      const [warning = ""] = /^.*Warning:.*$/m.exec(stderr) ?? [];
      for (const fact of ["30 minutes ago", "6 minutes ago", `${PROGRAM} ${setup.target} ${setup.target}`])
        expect(warning).toContain(fact);
    },
  );

  test("a newer image that has the target's name without the registry causes a warning, too", async () => {
    await using setup = await setUp({ name: "my/app:v1", hours: 2 });
    await setup.engine("docker", has("my/app:v1", hoursAgo(1)));
    const { stderr } = await setup.run();
    expect(stderr).toContain(`${PROGRAM} my/app:v1 ${setup.target}`);
  });

  test("no engine is asked about an archive that was just written", async () => {
    await using setup = await setUp({ name: "my/app:v1" });
    await setup.engine("docker", `touch '${setup.folder}/asked'; ${LACKS}`);
    const { code } = await setup.run();
    expect([code, setup.tags()]).toEqual([0, 1]);
    expect(await Bun.file(join(setup.folder, "asked")).exists()).toBe(false);
  });

  test("an image that is older than the archive, or in it, is no reason for a warning", async () => {
    await using setup = await setUp({ name: "my/app:v1", hours: 2 });
    await setup.engine("docker", has(setup.target, hoursAgo(3)));
    expect((await setup.run()).stderr).not.toContain("Warning:");
    await setup.engine("docker", has(setup.target, hoursAgo(1), digestOf(IMAGE.config)));
    expect((await setup.run()).stderr).not.toContain("Warning:");
  });

  test("an engine that does not answer delays no push for long, and causes no warning", async () => {
    await using setup = await setUp({ name: "my/app:v1", hours: 2 });
    await setup.engine("docker", "sleep 60");
    const { code, stderr } = await setup.run();
    expect([code, setup.tags()]).toEqual([0, 1]);
    expect(stderr).not.toContain("Warning:");
  });

  test("an old compressed archive of another name is pushed with a warning as well", async () => {
    await using setup = await setUp({ hours: 50, file: "output.tar.gz" });
    await Bun.$`mv output.tar.gz output.tar`.cwd(setup.folder).quiet();
    const { code, stderr } = await setup.run();
    expect([code, setup.tags()]).toEqual([0, 1]);
    expect(stderr).toContain("2 days ago and contains old/app:v1");
  });
});

describeWith("python3", "at a terminal", () => {
  test("a stale archive is not pushed after a no, which is what Enter says, and the command for another image is shown", async () => {
    await using setup = await setUp({ hours: 50 });
    const { code, screen } = await setup.ask("\\r");
    expect([code, setup.tags()]).toEqual([1, 0]);
    expect(setup.registry.recorded("start-upload")).toEqual([]);
    expect(screen).toContain(`${PROGRAM} my/app:v1`);
  });

  test("a stale archive is pushed after a yes", async () => {
    await using setup = await setUp({ hours: 50 });
    const { code, screen } = await setup.ask("y");
    expect([code, setup.tags()], screen).toEqual([0, 1]);
  });

  test("Ctrl-C at the question about a stale archive pushes nothing", async () => {
    await using setup = await setUp({ hours: 50 });
    const { code } = await setup.ask("\\x03");
    expect([code, setup.tags()]).toEqual([130, 0]);
  });

  test("a newer image of an engine is asked about before anything is sent", async () => {
    await using setup = await setUp({ hours: 0.5, name: "my/app:v1" });
    await setup.engine("docker", has(setup.target, hoursAgo(0.1)));
    const { code, screen } = await setup.ask("\\r");
    expect([code, setup.tags()]).toEqual([1, 0]);
    expect(setup.registry.recorded("start-upload")).toEqual([]);
    // The command of the warning, and the same in the error after a no.
    expect(screen.split(`${PROGRAM} ${setup.target} ${setup.target}`)).toHaveLength(3);
  });

  test("an archive that the user named is not asked about", async () => {
    await using setup = await setUp({ hours: 50 });
    const { code } = await setup.ask("", { prompt: "never shown", args: ["output.tar", setup.target] });
    expect([code, setup.tags()]).toEqual([0, 1]);
  });

  test("a person is asked about a stale archive even where the password is piped in", async () => {
    await using setup = await setUp({ hours: 50 });
    const options = { input: "echo hush | ", env: { USERNAME_REGISTRY: "me" } };
    const { code, screen } = await setup.ask("\\r", options);
    expect([code, setup.tags()], screen).toEqual([1, 0]);
    expect((await setup.ask("y", options)).code).toBe(0);
    expect(setup.tags()).toBe(1);
  });

  test.each([
    ["the terminal is one of CI", { env: { CI: "1" } }],
    ["events are wanted as JSON", { json: ["--progress", "json"] }],
  ])(
    "nobody is asked about a stale archive where %s",
    async (_, { env = {}, json = [] }: { env?: object; json?: string[] }) => {
      await using setup = await setUp({ hours: 50 });
      const { code, screen } = await setup.ask("", {
        env,
        args: [...json, setup.target],
        prompt: "never shown",
      });
      expect([code, setup.tags()], screen).toEqual([0, 1]);
      expect(screen).toMatch(/Warning: output.tar|SOURCE_STALE/);
    },
  );
});
