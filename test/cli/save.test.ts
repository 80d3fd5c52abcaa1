/** `save` with engines that are lines of shell. Real ones are in test/e2e/engine-matrix.test.ts. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { archiveNames } from "../../src/cli/save-command.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith, posixOnly } from "../support/needs.ts";
import { type CliOptions, cliCommand, cliEnvironment, PROGRAM, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { smallDisk } from "../support/small-disk.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startWatchedPush } from "../support/watched-push.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

describe("the name of an archive", () => {
  test.each([
    ["nginx:latest", "nginx_latest.tar"],
    ["localhost/my/app:v1", "my_app_v1.tar"],
    ["docker.io/library/nginx:1.27", "nginx_1.27.tar"],
    ["registry.example.com:5000/team/app:v1", "registry.example.com_5000_team_app_v1.tar"],
    ["my/app@sha256:0123", "my_app_sha256_0123.tar"],
    ["../../etc/passwd", "__.._etc_passwd.tar"],
    ["-rf", "_rf.tar"],
    ["a\x1b[2J\u202eb\n\\c:d", "a_2J_b_c_d.tar"],
    ["..", "_.tar"],
  ])("of %j is %s", (image, name) => {
    expect(archiveNames([image])).toEqual([name]);
  });

  test("is another for each image, in capital letters or not", () => {
    const names = archiveNames(["a/b:c", "a_b:c", "a-b:c", "app:V1", "app:v1", "localhost/app:v1"]);
    expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(6);
    expect(names[2]).toBe("a-b_c.tar");
  });

  test("is one that a file system takes, however long the image's name is", () => {
    const names = archiveNames([`${"a".repeat(300)}:v1`, `${"a".repeat(300)}:v2`]);
    expect(new Set(names).size).toBe(2);
    for (const name of names) expect(name.length).toBeLessThan(255);
  });
});

const NAMES = ["my/app:v1", "my/app:latest", "r.example.com:5000/x:y"];
const ARCHIVE = dockerArchive([seededBytes(300_000, 1)], NAMES).archive;

/** An engine that saves like this. Each call is written down. */
async function setUp(save = `cat "$HOME/saved"`) {
  const folder = await temporaryFolder();
  const cwd = join(folder.path, "work");
  await mkdir(cwd);
  await Bun.write(join(folder.path, "saved"), ARCHIVE);
  const inspected = { Id: digestOf("id"), RepoTags: NAMES, Created: "", RootFS: { Layers: [] } };
  await Bun.write(
    join(folder.path, "bin/docker"),
    `#!/bin/sh
    HOME='${folder.path}'; echo "$*" >> "$HOME/calls"; for last; do :; done
    case "$1 $2" in
      "image ls") printf '%s\\n' ${NAMES.join(" ")} ;;
      "image inspect") case "$last" in *none*) echo "No such image" >&2; exit 1 ;; esac; echo '${JSON.stringify([inspected])}' ;;
      "image save") ${save} ;;
    esac`,
  );
  await chmod(join(folder.path, "bin/docker"), 0o755);
  const options = {
    cwd,
    env: {
      HOME: folder.path,
      PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}`,
      CHUNKPUSH_RUNTIME: "docker",
    },
  };
  return {
    cwd,
    options,
    run: (args: string[], more: Partial<CliOptions> = {}) =>
      runCli(["save", ...args], { ...options, ...more }),
    ask: (args: string[], prompt: string, keys: string) =>
      atTerminal(cliCommand(["save", ...args]), { cwd, env: cliEnvironment(options), prompt, keys }),
    saved: async () =>
      (await Bun.file(join(folder.path, "calls")).text())
        .split("\n")
        .filter((call) => call.startsWith("image save")),
    files: async () => (await readdir(cwd)).toSorted(),
    read: async (name: string) => Buffer.from(await Bun.file(join(cwd, name)).arrayBuffer()),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe.concurrent("save", () => {
  test("writes each image to a file of its own, whose path is on standard output", async () => {
    await using setup = await setUp();
    const { code, stdout, stderr } = await setup.run([
      "my/app:v1",
      "r.example.com:5000/x:y",
      "--output-dir",
      "a/b",
    ]);
    const names = ["my_app_v1.tar", "r.example.com_5000_x_y.tar"];
    expect([code, stdout], stderr).toEqual([0, names.map((name) => `${join("a/b", name)}\n`).join("")]);
    expect(await readdir(join(setup.cwd, "a/b"))).toEqual(expect.arrayContaining(names));
    expect((await setup.read(`a/b/${names[0]}`)).equals(ARCHIVE)).toBe(true);
    if (posixOnly()) expect((await stat(join(setup.cwd, "a/b/my_app_v1.tar"))).mode & 0o777).toBe(0o600);
  });

  test("asks the engine for one tag, and once for an image that is named twice", async () => {
    await using setup = await setUp();
    const { code, stdout } = await setup.run(["my/app", "my/app:latest"]);
    expect([code, stdout]).toEqual([0, "my_app_latest.tar\n"]);
    expect(await setup.saved()).toEqual(["image save -- my/app:latest"]);
  });

  test("replaces no file without --force, and saves nothing then", async () => {
    await using setup = await setUp();
    await Bun.write(join(setup.cwd, "my_app_v1.tar"), "mine");
    const { code, stdout } = await setup.run(["my/app:latest", "my/app:v1"]);
    expect([code, stdout, await setup.files()]).toEqual([1, "", ["my_app_v1.tar"]]);
    expect((await setup.read("my_app_v1.tar")).toString()).toBe("mine");
    expect((await setup.run(["my/app:v1", "--force"])).code).toBe(0);
    expect((await setup.read("my_app_v1.tar")).equals(ARCHIVE)).toBe(true);
  });

  test.each([[["--force"]], [[]]])(
    "saves nothing where a folder has an archive's name, with %j",
    async (flags) => {
      await using setup = await setUp();
      await mkdir(join(setup.cwd, "my_app_v1.tar"));
      const { code, stderr } = await setup.run(["my/app:latest", "my/app:v1", ...flags]);
      expect([code, await setup.files(), await setup.saved()], stderr).toEqual([1, ["my_app_v1.tar"], []]);
      expect(stderr).toContain("[FILE_FAILED]");
    },
  );

  test.each([
    ["fails in the middle", `head -c 100000 "$HOME/saved"; echo "disk on fire" >&2; exit 1`],
    ["ends in the middle without an error", `head -c 100000 "$HOME/saved"`],
    ["writes nothing", "true"],
  ])("leaves no file where the engine %s, and the old one where there was one", async (_, save) => {
    await using setup = await setUp(save);
    await Bun.write(join(setup.cwd, "my_app_v1.tar"), "mine");
    for (const args of [["my/app:latest"], ["my/app:v1", "--force"]]) {
      const { code, stderr } = await setup.run(args);
      expect([code, stderr]).toEqual([1, expect.stringContaining("Cannot save")]);
    }
    expect(await setup.files()).toEqual(["my_app_v1.tar"]);
    expect((await setup.read("my_app_v1.tar")).toString()).toBe("mine");
  });

  test("does not replace a file that appears while the engine saves", async () => {
    await using setup = await setUp(`echo other > my_app_v1.tar; cat "$HOME/saved"`);
    const { code } = await setup.run(["my/app:v1"]);
    expect([code, await setup.files()]).toEqual([1, ["my_app_v1.tar"]]);
    expect((await setup.read("my_app_v1.tar")).toString()).toBe("other\n");
  });

  test("offers another folder where its own cannot be made", async () => {
    await using setup = await setUp();
    await Bun.write(join(setup.cwd, "file"), "");
    const { code, stderr } = await setup.run(["my/app:v1", "--output-dir", "file"]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("--output-dir")]);
    expect(await setup.saved()).toEqual([]);
  });

  test("saves nothing where one of the images is not there", async () => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run(["my/app:v1", "none:v1"]);
    expect([code, await setup.files(), await setup.saved()], stderr).toEqual([1, [], []]);
    expect(stderr).toContain("IMAGE_NOT_FOUND");
  });

  test("without a terminal needs a name, and says how to give one", async () => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run([]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${PROGRAM} save my/app:v1`)]);
  });

  test("refuses an empty name, and one that looks like a flag", async () => {
    await using setup = await setUp();
    for (const name of ["", "--output=/etc/passwd"]) expect((await setup.run([name])).code).toBe(2);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("removes what it has written at %s", async (signal) => {
    await using setup = await setUp(`head -c 100000 "$HOME/saved"; echo > "$HOME/half"; exec sleep 60`);
    await Bun.$`mkfifo half`.cwd(join(setup.cwd, "..")).quiet();
    const child = startWatchedPush(["save", "my/app:v1"], setup.options);
    await Bun.$`cat half`.cwd(join(setup.cwd, "..")).quiet();
    expect(await setup.files()).toHaveLength(1);
    process.kill(child.pid, signal);
    expect((await child.ended).code).toBeGreaterThan(128);
    expect(await setup.files()).toEqual([]);
  });
});

describeWith("python3", "at a terminal, save", () => {
  test("shows a list where no image is named, and saves those that are chosen", async () => {
    await using setup = await setUp();
    const { code, screen } = await setup.ask([], "Which images", " \\x1b[B\\x1b[B \\r");
    expect(code, screen).toBe(0);
    expect(await setup.files()).toEqual(["my_app_latest.tar", "r.example.com_5000_x_y.tar"]);
  });

  test.each([
    ["keeps the file that is there after a no, which is what Enter says", "\\r", "mine"],
    ["replaces it after a yes", "y", undefined],
  ])("%s", async (_, keys, text) => {
    await using setup = await setUp();
    await Bun.write(join(setup.cwd, "my_app_v1.tar"), "mine");
    const { code, screen } = await setup.ask(["my/app:v1"], "Replace it?", keys);
    expect(code, screen).toBe(0);
    expect((await setup.read("my_app_v1.tar")).toString("latin1")).toBe(text ?? ARCHIVE.toString("latin1"));
  });

  test("saves nothing after Ctrl-C", async () => {
    await using setup = await setUp();
    const { code } = await setup.ask([], "Which images", "\\x03");
    expect([code, await setup.files()]).toEqual([130, []]);
  });
});

const canMount = process.platform === "linux" && process.geteuid?.() === 0;

describe.skipIf(!canMount)("on a disk that is too small, save", () => {
  let disk: Awaited<ReturnType<typeof smallDisk>>;
  beforeAll(async () => {
    disk = await smallDisk(40 * 4096);
  });
  afterAll(() => disk?.[Symbol.asyncDispose]());

  test("says that it is full, and leaves nothing", async () => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run(["my/app:v1", "--output-dir", disk.path]);
    expect([code, await readdir(disk.path)]).toEqual([1, []]);
    for (const fact of ["FILE_FAILED", "ENOSPC", "--output-dir"]) expect(stderr).toContain(fact);
  });
});
