/** How a push is shown where there is no terminal to rewrite, or where something else was asked for. */

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith, posixOnly } from "../support/needs.ts";
import { type CliOptions, cliCommand, cliEnvironment, runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { toldEvents } from "../support/told-events.ts";

setDefaultTimeout(60_000);

const IMAGE = dockerArchive([seededLayer(150_000, 1)], ["my/app:v1"]);

async function setUp(options: Parameters<typeof startTestRegistry>[0] = {}) {
  const resources = new AsyncDisposableStack();
  const { path } = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry(options));
  await Bun.write(join(path, "output.tar"), IMAGE.archive);
  const target = `${registry.host}/my/app:v1`;
  return {
    path,
    target,
    run: (args: readonly string[] = [], cli: Partial<CliOptions> = {}) =>
      runCli([...args, target], { cwd: path, ...cli }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

describeWith("python3", "A push at a terminal that should not be redrawn", () => {
  test.each([
    ["TERM=dumb", { TERM: "dumb" }, []],
    ["CI=1", { CI: "1" }, []],
    ["--progress plain", {}, ["--progress", "plain"]],
    ["CHUNKPUSH_PROGRESS=plain", { CHUNKPUSH_PROGRESS: "plain" }, []],
  ])("prints lines without escape codes: %s", async (_, env, args) => {
    await using setup = await setUp();
    const { screen, code } = await atTerminal(cliCommand([...args, setup.target]), {
      cwd: setup.path,
      env: cliEnvironment({ cwd: setup.path, env }),
      prompt: "never",
    });
    expect(code, screen).toBe(0);
    expect(screen).toContain("Source: output.tar");
    expect(screen).not.toContain("\x1b");
  });

  test("is drawn in place with --progress tty", async () => {
    await using setup = await setUp();
    const { screen, code } = await atTerminal(cliCommand(["--progress", "tty", setup.target]), {
      cwd: setup.path,
      env: cliEnvironment({ cwd: setup.path, env: { CI: "1" } }),
      prompt: "never",
    });
    expect(code, screen).toBe(0);
    // A push that ends before the first frame does not hide the cursor.
    expect(screen).toContain("\x1b[?2026h");
    expect(screen.lastIndexOf("\x1b[?25h")).toBeGreaterThanOrEqual(screen.lastIndexOf("\x1b[?25l"));
  });

  test("has no colors with NO_COLOR", async () => {
    await using setup = await setUp();
    const { screen } = await atTerminal(cliCommand([setup.target]), {
      cwd: setup.path,
      env: cliEnvironment({ cwd: setup.path, env: { NO_COLOR: "1" } }),
      prompt: "never",
    });
    expect(screen).toContain("\x1b[?2026h");
    expect(screen).not.toContain("\x1b[0m");
  });
});

test.each([
  [["--progress", "json", "missing.tar"], {}, true],
  [["missing.tar"], { CHUNKPUSH_PROGRESS: "json" }, true],
  [["--quiet", "missing.tar"], { CHUNKPUSH_PROGRESS: "json" }, false],
])("An error is JSON if events are: %j with %j", async (args, env, isJson) => {
  await using setup = await setUp();
  const { code, stderr } = await setup.run(args, { env });
  expect(code).toBe(1);
  expect(
    stderr
      .trimEnd()
      .split("\n")
      .every((line) => line.startsWith("{")),
  ).toBe(isJson);
});

test("Flags of a command after -- do not choose the form of errors", async () => {
  await using setup = await setUp();
  const args = ["proxy", "localhost:1", "--bogus", "--", "docker", "--progress=json"];
  const { code, stderr } = await runCli(args, { cwd: setup.path });
  expect([code, stderr.startsWith("Error: ")]).toEqual([2, true]);
});

describe.skipIf(!posixOnly())("A push whose streams are files or closed", () => {
  test.each([
    ["standard error is thrown away", "2>/dev/null"],
    ["standard error is closed", "2>&-"],
    ["standard input is closed", "<&- 2>/dev/null"],
    ["all is piped", "2>&1 | cat | tail -n 1"],
  ])("succeeds with only the reference on standard output: %s", async (_, redirection) => {
    await using setup = await setUp();
    const child = Bun.spawn(["sh", "-c", `"$@" ${redirection}`, "sh", ...cliCommand([setup.target])], {
      cwd: setup.path,
      env: cliEnvironment({ cwd: setup.path }),
      stdout: "pipe",
      stderr: "ignore",
    });
    const [stdout, code] = await Promise.all([child.stdout.text(), child.exited]);
    expect({ code, stdout: stdout.replace(/@sha256:[0-9a-f]{64}\n$/, "@") }).toEqual({
      code: 0,
      stdout: `${setup.target}@`,
    });
  });
});

describe("Events as JSON", () => {
  test("are one per line on standard error, from the plan to the end, and the reference is on standard output", async () => {
    await using setup = await setUp();
    const { code, stdout, stderr } = await setup.run(["--progress", "json"]);
    expect(code, stderr).toBe(0);
    expect(stdout).toStartWith(`${setup.target}@sha256:`);
    const events = toldEvents(stderr);
    expect(events.every(({ v, time }) => v === 1 && !Number.isNaN(Date.parse(String(time))))).toBe(true);
    expect([...new Set(events.map(({ type }) => type))].toSorted()).toEqual(
      ["blob", "planned", "pushed", "registry", "settled", "source"].toSorted(),
    );
    expect(events.at(-1)?.type).toBe("pushed");
  });

  test("have each request with --verbose, without the values of its query", async () => {
    await using setup = await setUp();
    const { stderr } = await setup.run(["--progress", "json", "-v"]);
    const requests = toldEvents(stderr).filter(({ type }) => type === "request");
    expect(requests.length).toBeGreaterThan(4);
    expect(requests).toContainEqual(
      expect.objectContaining({ method: "PATCH", status: 202, url: expect.stringContaining("_stateHash=…") }),
    );
  });

  test("end with the failure, its code and the exit code", async () => {
    await using setup = await setUp({
      intercept: (_, kind) => (kind === "put-manifest" ? new Response("No.", { status: 403 }) : undefined),
    });
    const { code, stderr } = await setup.run([], { env: { CHUNKPUSH_PROGRESS: "json" } });
    expect(code).toBe(1);
    expect(toldEvents(stderr).at(-1)).toMatchObject({ type: "error", code: "DENIED", exitCode: 1 });
  });

  test("include wrong usage", async () => {
    await using setup = await setUp();
    const { code, stderr } = await setup.run(["--retries", "many", "--progress=json"]);
    expect(toldEvents(stderr)).toMatchObject([{ type: "error", code: "USAGE", exitCode: code }]);
  });
});

describe("A quiet push", () => {
  test.each([["-q"], ["--quiet"], ["--progress=quiet"]])("prints only the reference: %s", async (flag) => {
    await using setup = await setUp();
    const { code, stdout, stderr } = await setup.run([flag]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toStartWith(`${setup.target}@sha256:`);
  });

  test("prints its failure", async () => {
    await using setup = await setUp({
      intercept: (_, kind) => (kind === "put-manifest" ? new Response("No.", { status: 403 }) : undefined),
    });
    const { code, stderr } = await setup.run(["-q"]);
    expect(code).toBe(1);
    expect(stderr).toStartWith("Error: ");
  });
});

test.each([[["--progress", "loud"]], [["--quiet", "--progress", "json"]]])(
  "An unknown or contradictory way to show progress is wrong usage: %p",
  async (args) => {
    await using setup = await setUp();
    expect((await setup.run(args)).code).toBe(2);
  },
);

test("Requests with --verbose show no password and no token, in any view", async () => {
  const me = { username: "me", password: "hush-Xq7" };
  await using tokens = startTokenServer({ credentials: me });
  for (const options of [{ credentials: me }, { tokens }]) {
    await using setup = await setUp(options);
    for (const view of ["plain", "json"]) {
      const env = { USERNAME_REGISTRY: me.username, REGISTRY_JWT_TOKEN: me.password };
      const { code, stderr } = await setup.run(["-v", "--progress", view], { env });
      expect(code, stderr).toBe(0);
      expect(stderr).toMatch(/PATCH|HEAD/);
      for (const secret of [me.password, btoa(`me:${me.password}`), ...tokens.tokens])
        expect(stderr).not.toContain(secret);
    }
  }
});
