/** What completion offers for a word, before any shell has seen it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { parseCompletionCommand } from "../../../src/cli/completion/command.ts";
import { pushProgram } from "../../../src/cli/push-program.ts";
import { exitCodeOf, PushError } from "../../../src/errors.ts";
import { TRANSPORTS } from "../../../src/source/transport.ts";
import { posixOnly } from "../../support/needs.ts";
import { runCli } from "../../support/run-cli.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

// A process for each command.
setDefaultTimeout(30_000);

/** A folder that is the home, with programs in the only folder of PATH. */
async function machine(programs: Readonly<Record<string, string>> = {}, logins?: unknown) {
  const folder = await temporaryFolder();
  const bin = join(folder.path, "bin");
  await mkdir(bin);
  for (const [name, text] of Object.entries(programs)) {
    await Bun.write(join(bin, name), `#!/bin/sh\n${text}\n`);
    await chmod(join(bin, name), 0o755);
  }
  if (logins !== undefined) await Bun.write(join(folder.path, ".docker/config.json"), JSON.stringify(logins));
  return {
    [Symbol.asyncDispose]: folder[Symbol.asyncDispose],
    path: folder.path,
    /** Asks as a shell does. The first two lines are the kind and the prefix. */
    async ask(...args: readonly string[]) {
      const env = { PATH: bin, XDG_RUNTIME_DIR: folder.path };
      const { code, stdout, stderr } = await runCli(["__complete", ...args], { cwd: folder.path, env });
      expect([code, stderr]).toEqual([0, ""]);
      const [kind = "", prefix = "", ...lines] = stdout.split("\n").slice(0, -1);
      const descriptions = new Map(lines.map((line) => line.split("\t") as [string, string]));
      return { kind, prefix, descriptions, values: [...descriptions.keys()] };
    },
  };
}

describe("Completion offers", () => {
  test("every command and every flag that the programs parse, each with a short description", async () => {
    await using here = await machine();
    const first = await here.ask("words", "");
    for (const { name } of COMMANDS) expect(first.descriptions.get(name)).toBeString();
    const programs = [{ words: [] as string[], program: pushProgram() }];
    for (const { name, load } of COMMANDS)
      programs.push({ words: [name], program: (await load()).program() });
    for (const { words, program } of programs) {
      const { kind, descriptions } = await here.ask("words", ...words, "-");
      expect(kind).toBe("words");
      const flags = program.options.flatMap(({ short, long, hidden }) =>
        hidden ? [] : [short, long].filter((name) => name != null),
      );
      for (const flag of [...flags, "--help"])
        expect([flag, descriptions.get(flag)]).toEqual([flag, expect.stringMatching(/^.{3,100}$/)]);
    }
  });

  test("every transport that a source may have", async () => {
    await using here = await machine();
    const { values } = await here.ask("words", "");
    for (const name of Object.keys(TRANSPORTS)) expect(values).toContain(`${name}:`);
    expect(values).toContain("docker://");
  });

  test.each<[words: string[], kind: string, prefix: string]>([
    [["--ca-file", ""], "files", ""],
    [["--cert", "x"], "files", ""],
    [["--key=x"], "files", "--key="],
    [["--cache-dir", ""], "folders", ""],
    [["proxy", "--spool-dir=x"], "folders", "--spool-dir="],
    [["oci:x"], "files", "oci:"],
    [["docker-archive:x"], "files", "docker-archive:"],
    [["./x"], "files", ""],
    [["proxy", "registry.example.com", "--", "docker", ""], "files", ""],
    [["--username", ""], "words", ""],
    [["--nope="], "words", ""],
    [["--insecure="], "words", ""],
    [["source", "target", ""], "words", ""],
    [["--", "-"], "files", ""],
  ])("the shell's own files or folders, or nothing, for %j", async (words, kind, prefix) => {
    await using here = await machine();
    const offer = await here.ask("words", ...words);
    expect([offer.kind, offer.prefix, offer.values]).toEqual([kind, prefix, []]);
  });

  test("registries with a login in the place of a target, and no secrets", async () => {
    const auths = {
      "https://index.docker.io/v1/": { auth: "c2VjcmV0OnNlY3JldA==" },
      "registry.example.com/team": {},
      "evil$(touch ran).example.com": {},
      "esc\u001b[2J.example.com": {},
    };
    await using here = await machine({}, { auths, credHelpers: { "gcr.example.com": "none" } });
    const all = ["docker.io", "registry.example.com/team", "gcr.example.com"].map((host) => `${host}/`);
    for (const words of [
      ["x.tar", ""],
      ["-t", ""],
      ["x.tar", "--tag", ""],
      ["--", "x.tar", ""],
    ])
      expect((await here.ask("words", ...words)).values).toEqual(all);
    expect((await here.ask("words", "--tag=g")).values).toEqual(["--tag=gcr.example.com/"]);
    expect((await here.ask("words", "docker://d")).values).toEqual(["docker://docker.io/"]);
    expect((await here.ask("words", "x.tar", "http://g")).values).toEqual(["http://gcr.example.com/"]);
    expect((await here.ask("words", "proxy", "g")).values).toEqual(["gcr.example.com"]);
  });

  test("targets of earlier pushes in the place of a target, and images in the place of save's argument", async () => {
    await using here = await machine({ docker: "printf 'my/app:v1\\nmy/app:v2\\n'" });
    const state = join(here.path, ".local/state/chunkpush");
    await mkdir(state, { recursive: true });
    const names = ["r.example.com/a:v1", "http://r.lan/a:v1", "r.example.com/$(touch ran):v1"];
    await Bun.write(join(state, "targets.json"), JSON.stringify(names), { mode: 0o600 });
    for (const words of [
      ["x.tar", ""],
      ["-t", ""],
    ])
      expect((await here.ask("words", ...words)).values).toEqual(names.slice(0, 2));
    for (const words of [
      ["save", ""],
      ["save", "my/app:v1", ""],
    ])
      expect((await here.ask("words", ...words)).values).toEqual(["my/app:v1", "my/app:v2"]);
  });

  test("no registries and no error message if the file of logins is broken", async () => {
    await using here = await machine({}, "no logins");
    expect((await here.ask("words", "x.tar", "")).values).toEqual([]);
  });

  test("candidates for the last word of a line as bash would read it, and none inside quotes", async () => {
    await using here = await machine();
    const runtimes = ["docker", "podman", "nerdctl"];
    for (const line of [
      "chunkpush --runtime ",
      "chunkpush  --header 'a: b'  --runtime ",
      'chunkpush --header "a: \\" b" --runtime ',
      "chunkpush --header a:\\ b --runtime ",
      "chunkpush --runtime=",
    ]) {
      const { values } = await here.ask("line", line);
      expect([line, values.map((value) => value.replace("--runtime=", ""))]).toEqual([line, runtimes]);
    }
    for (const line of ['chunkpush --runtime "do', "chunkpush --runtime 'do", "chunkpush --runtime \\do"])
      expect([line, (await here.ask("line", line)).values]).toEqual([line, []]);
  });
});

describe.if(posixOnly())("Images of engines in completion", () => {
  test("are offered from every engine, unless their names could harm a shell", async () => {
    const evil = `'evil$(touch ran):v1' "$(printf 'esc\\033[2J:v1')" '<none>:<none>' '-t:v1'`;
    await using here = await machine({
      docker: `printf '%s\\n' team/app:v1 ${evil}`,
      podman: "printf '%s\\n' localhost/team/other:v1",
      nerdctl: "exit 1",
    });
    const { kind, descriptions } = await here.ask("words", "");
    const images = [...descriptions].filter(([, description]) => description === "image");
    expect([kind, images.map(([name]) => name)]).toEqual([
      "files",
      ["team/app:v1", "localhost/team/other:v1"],
    ]);
    const podman = await here.ask("words", "containers-storage:");
    expect(podman.values).toEqual(["containers-storage:localhost/team/other:v1"]);
  });

  test("are left out after a short wait if an engine does not answer", async () => {
    await using here = await machine({
      docker: "trap '' TERM; /bin/sleep 30; echo late/app:v1",
      podman: "echo team/app:v1",
    });
    expect((await here.ask("words", "te")).values).toEqual(["team/app:v1"]);
  });

  test("are not requested where no image is possible", async () => {
    await using here = await machine({
      docker: "touch asked",
      podman: "touch asked",
      nerdctl: "touch asked",
    });
    for (const words of [
      ["./x"],
      ["-"],
      ["oci:x"],
      ["docker://x"],
      ["x.tar", ""],
      ["cache", ""],
      ["proxy", ""],
    ])
      await here.ask("words", ...words);
    expect(await Bun.file(join(here.path, "asked")).exists()).toBe(false);
  });
});

describe("The command completion", () => {
  const read = (...args: readonly string[]) => parseCompletionCommand(args);

  test.each(["bash", "zsh", "fish"])("prints the script of %s", (shell) => {
    expect(read(shell)).toContain(`Completion of chunkpush for ${shell}`);
  });

  test("explains in its help how each shell loads it", () => {
    const text = read("--help");
    for (const shell of ["bash", "zsh", "fish"]) expect(text).toContain(`chunkpush completion ${shell}`);
    for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
  });

  test.each<[args: string[], hint: string]>([
    [["zhs"], "completion zsh"],
    [["powershell"], "completion"],
    [[""], "completion"],
    [[], "bash, zsh or fish"],
    [["bash", "zsh"], "help completion"],
    [["--nope"], "help completion"],
  ])("refuses %j with a hint", (args, hint) => {
    let error: unknown;
    try {
      read(...args);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(PushError);
    expect([exitCodeOf(error), (error as PushError).hint]).toEqual([2, expect.stringContaining(hint)]);
  });
});
