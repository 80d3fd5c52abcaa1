/** An image on standard input: where the password comes from then, and how the command ends. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { push } from "../../index.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith, posixOnly } from "../support/needs.ts";
import { cliCommand, cliEnvironment, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { startWatchedPush } from "../support/watched-push.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const RAW = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(5000, 1) }]));
const IMAGE = dockerArchive([RAW], ["team/app:v1"]);
const PASSWORD = "hush-Xq7";

async function setUp(isOpen = false) {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry(
    isOpen ? {} : { credentials: { username: "me", password: PASSWORD } },
  );
  const target = `${registry.host}/team/app:v1`;
  return {
    folder: folder.path,
    registry,
    target,
    run: (args: readonly string[], env: Record<string, string>, archive: Uint8Array = IMAGE.archive) =>
      runCli(args, { cwd: folder.path, env, input: new Uint8Array(archive) }),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe.concurrent("An image on standard input", () => {
  test("is pushed with the password of REGISTRY_JWT_TOKEN", async () => {
    await using setup = await setUp();
    const env = { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: PASSWORD };
    const { code, stdout, stderr } = await setup.run(["-", setup.target], env);
    expect([code, stdout]).toEqual([0, expect.stringContaining(`${setup.target}@sha256:`)]);
    expect(stdout + stderr).not.toContain(PASSWORD);
  });

  test("is pushed with a docker login", async () => {
    await using setup = await setUp();
    const auths = { [setup.registry.host]: { auth: btoa(`me:${PASSWORD}`) } };
    await Bun.write(join(setup.folder, ".docker/config.json"), JSON.stringify({ auths }));
    const { code, stdout } = await setup.run(["-", setup.target], {});
    expect([code, stdout]).toEqual([0, expect.stringContaining("@sha256:")]);
  });

  test("is pushed with the docker login of the named user, and with no other", async () => {
    await using setup = await setUp();
    const auths = { [setup.registry.host]: { auth: btoa(`me:${PASSWORD}`) } };
    await Bun.write(join(setup.folder, ".docker/config.json"), JSON.stringify({ auths }));
    const push = async (user: string) => {
      const child = Bun.spawn(cliCommand(["-", setup.target]), {
        cwd: setup.folder,
        env: cliEnvironment({ cwd: setup.folder, env: { USERNAME_REGISTRY: user } }),
        stdin: new Blob([new Uint8Array(IMAGE.archive)]),
        stdout: "ignore",
        stderr: "ignore",
        // In a session of its own, or else it asks the person who runs the tests.
        detached: true,
      });
      return child.exited;
    };
    expect([await push("me"), await push("somebody")]).toEqual([0, 1]);
  });

  test("is pushed anonymously if no user is named", async () => {
    await using setup = await setUp(true);
    const { code } = await setup.run(["-", setup.target], {});
    expect(code).toBe(0);
    expect(setup.registry.requests.map(({ hadAuthorization }) => hadAuthorization)).not.toContain(true);
  });

  test("is not read as a password if a user is named and there is no terminal", async () => {
    await using setup = await setUp();
    const child = Bun.spawn(cliCommand(["-", setup.target]), {
      cwd: setup.folder,
      env: cliEnvironment({ cwd: setup.folder, env: { USERNAME_REGISTRY: "me" } }),
      stdin: new Blob([new Uint8Array(IMAGE.archive)]),
      stdout: "ignore",
      stderr: "pipe",
      // In a session of its own, or else it asks the person who runs the tests.
      detached: true,
    });
    const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("REGISTRY_JWT_TOKEN")]);
    expect(setup.registry.requests).toEqual([]);
  });

  test("is wrong usage together with --password-stdin, whatever variables are set", async () => {
    await using setup = await setUp();
    for (const token of [{}, { REGISTRY_JWT_TOKEN: PASSWORD }]) {
      const env = { USERNAME_REGISTRY: "me", ...token };
      const { code, stderr } = await setup.run(["--password-stdin", "-", setup.target], env);
      expect([code, stderr]).toEqual([2, expect.stringContaining("--password-stdin")]);
    }
    expect(setup.registry.requests).toEqual([]);
  });

  test("that is cut short fails, and tags nothing", async () => {
    await using setup = await setUp(true);
    const { code, stderr } = await setup.run(["-", setup.target], {}, IMAGE.archive.subarray(0, 4000));
    expect([code, stderr]).toEqual([1, expect.stringContaining("standard input")]);
    expect(stderr).not.toContain("bug in chunkpush");
    expect(setup.registry.recorded("put-manifest")).toEqual([]);
  });

  test("that nobody writes ends with an interruption", async () => {
    await using setup = await setUp(true);
    const push = startWatchedPush(["-", setup.target], { cwd: setup.folder });
    await push.says("Registry:");
    process.kill(push.pid, "SIGINT");
    const { code, stderr } = await push.ended;
    expect([code, stderr]).toEqual([130, expect.stringContaining("Interrupted")]);
  });
});

describe.concurrent.skipIf(!posixOnly())("A FIFO as the source", () => {
  test("is read like standard input", async () => {
    await using setup = await setUp(true);
    const fifo = join(setup.folder, "pipe");
    expect(await Bun.spawn(["mkfifo", fifo]).exited).toBe(0);
    await Bun.write(join(setup.folder, "x.tar"), IMAGE.archive);
    const writer = Bun.spawn(["sh", "-c", "cat x.tar > pipe"], { cwd: setup.folder });
    const { code, stdout } = await setup.run(["./pipe", setup.target], {});
    expect([code, stdout]).toEqual([0, expect.stringContaining("@sha256:")]);
    expect(await writer.exited).toBe(0);
  });

  test("that nobody writes ends with an interruption", async () => {
    await using setup = await setUp(true);
    const fifo = join(setup.folder, "pipe");
    expect(await Bun.spawn(["mkfifo", fifo]).exited).toBe(0);
    const push = startWatchedPush(["./pipe", setup.target], { cwd: setup.folder });
    await push.says("Registry:");
    process.kill(push.pid, "SIGINT");
    const { code, stderr } = await push.ended;
    expect([code, stderr]).toEqual([130, expect.stringContaining("Interrupted")]);
  });

  test("that nobody writes ends with the reason of a stop, and leaves nothing waiting for a writer", async () => {
    await using setup = await setUp(true);
    const fifo = join(setup.folder, "pipe");
    expect(await Bun.spawn(["mkfifo", fifo]).exited).toBe(0);
    const stop = new AbortController();
    const reason = new Error("enough");
    const ended = push({
      source: fifo,
      target: setup.target,
      cacheDirectory: join(setup.folder, "cache"),
      stop: stop.signal,
      // The pipe is being opened by then.
      report: ({ type }) => type === "reading" && setImmediate(() => stop.abort(reason)),
    });
    expect(await ended.catch((error: unknown) => error)).toBe(reason);
    // Ends the system's own wait in this process.
    expect(await Bun.spawn(["sh", "-c", "exec 3<>pipe"], { cwd: setup.folder }).exited).toBe(0);
  });
});

describeWith("python3", "A push at a terminal", () => {
  const env = (cwd: string) => ({
    ...cliEnvironment({ cwd, env: { USERNAME_REGISTRY: "me" } }),
    ...(process.env["HOME"] !== undefined && { HOME: process.env["HOME"] }),
  });

  test("asks for the password while the image arrives on standard input", async () => {
    await using setup = await setUp();
    await Bun.write(join(setup.folder, "x.tar"), IMAGE.archive);
    const command = ["sh", "-c", 'cat x.tar | "$@"', "sh", ...cliCommand(["-", setup.target])];
    const { screen, code } = await atTerminal(command, {
      cwd: setup.folder,
      env: env(setup.folder),
      prompt: "Password of",
      keys: `${PASSWORD}\\r`,
    });
    expect(screen).toContain("Pushed");
    expect(screen).not.toContain("Xq7");
    expect(code).toBe(0);
  });

  test("refuses the terminal itself as the source", async () => {
    await using setup = await setUp(true);
    const { screen, code } = await atTerminal(cliCommand(["-", setup.target]), {
      cwd: setup.folder,
      env: env(setup.folder),
      prompt: "never",
    });
    expect([code, screen]).toEqual([2, expect.stringContaining("terminal")]);
    expect(setup.registry.requests).toEqual([]);
  });
});
