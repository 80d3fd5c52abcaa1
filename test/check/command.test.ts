/** The command `check`: its arguments, and whole processes. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { parseCheckCommand } from "../../src/cli/check-program.ts";
import { PushError } from "../../src/errors.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startRawServer } from "../support/raw-server.ts";
import { runCli, startCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

// Whole processes: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

function parse(...args: string[]) {
  const command = parseCheckCommand(args, {});
  if (typeof command === "string") throw new Error(`expected a check, not: ${command}`);
  return command;
}

function refusal(...args: string[]): string {
  try {
    parse(...args);
  } catch (error) {
    if (error instanceof PushError) return error.code;
    throw error;
  }
  throw new Error(`${args.join(" ")} was taken`);
}

describe("The argument of check", () => {
  const worker = { scheme: "https", host: "my-registry.me.workers.dev" } as const;
  const local = { scheme: undefined, host: "localhost:8787" };
  test.each([
    ["https://my-registry.me.workers.dev/", worker],
    ["https://my-registry.me.workers.dev/v2/", worker],
    ["https://my-registry.me.workers.dev/v2/my/app", { ...worker, repository: "my/app" }],
    ["https://my-registry.me.workers.dev/my/app/", { ...worker, repository: "my/app" }],
    ["https://my-registry.me.workers.dev?", worker],
    ["My-Registry.me.workers.dev", { ...worker, scheme: undefined }],
    ["localhost:8787", local],
    ["localhost:8787/", local],
    ["localhost:8787/v2", local],
    ["localhost:8787/v2/my/app:v1", { ...local, repository: "my/app" }],
    ["docker://localhost:8787/my/app", { ...local, repository: "my/app" }],
    ["localhost:8787/v22/app", { ...local, repository: "v22/app" }],
    ["[::1]:5000/app", { scheme: undefined, host: "[::1]:5000", repository: "app" }],
    ["docker.io/alpine", { scheme: undefined, host: "docker.io", repository: "library/alpine" }],
  ])("may be %s", (text, target) => {
    expect(parse(text).target).toEqual(target);
  });

  test.each([
    ["REFERENCE_INVALID", ["my-registry"]],
    ["REFERENCE_INVALID", ["https://me:secret@registry.example.com/"]],
    ["REFERENCE_INVALID", ["registry.example.com/My/App"]],
    ["USAGE", []],
    ["USAGE", ["registry.example.com", "other.example.com"]],
    ["USAGE", ["registry.example.com/app", "--upload", "large"]],
    ["USAGE", ["registry.example.com/app", "--upload", "2GB"]],
    ["USAGE", ["registry.example.com", "--upload", "1MB"]],
  ])("fails with %s where it is wrong or missing: %j", (code, args) => {
    expect(refusal(...args)).toBe(code);
  });
});

describe("A check", () => {
  const env = { USERNAME_REGISTRY: "me" };
  const credentials = { username: "me", password: "hush-Xq7" };

  test("prints the form of a target and a line for each step, and ends with 0", async () => {
    await using registry = await startTestRegistry({ credentials });
    await using folder = await temporaryFolder();
    const { code, stdout } = await runCli(["check", `http://${registry.host}/v2/my/app/`], {
      cwd: folder.path,
      env,
      input: "hush-Xq7\n",
    });
    expect(stdout.split("\n")).toEqual([
      `Target: ${registry.host}/my/app:TAG`,
      "",
      "✓ Name      127.0.0.1 is an address",
      expect.stringMatching(/^✓ TCP {7}127\.0\.0\.1:\d+ accepts connections \(\d+ ms\)$/),
      "– TLS       not used: plain HTTP on this machine",
      expect.stringMatching(/^✓ Registry {2}\/v2\/ answers in \d+ ms; it requires a login$/),
      "✓ Login     me",
      "✓ Push      allowed to my/app",
      "✓ Chunks    65.5 kB each; announced: 1.0 kB to 65.5 kB",
      "✓ Resume    an interrupted layer resumes where it stopped",
      "✓ Clock     agrees with the registry's",
      "",
      "Ready.",
      "",
    ]);
    expect(code).toBe(0);
    // Bun's own folder in the home.
    expect((await readdir(folder.path)).filter((name) => name !== ".bun")).toEqual([]);
  });

  test("of a website ends with 1, and says what was not checked", async () => {
    const page = () => new Response("<title>Hello</title>", { headers: { "content-type": "text/html" } });
    await using server = startHttpServer(page);
    await using folder = await temporaryFolder();
    const { code, stdout } = await runCli(["check", `${server.host}/my/app`], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stdout).toContain("✗ Registry");
    expect(stdout).toContain("– Login, Push, Chunks, Resume, Clock: not checked, because of Registry");
  });

  test("with --json prints one document, even where the password is missing", async () => {
    await using registry = await startTestRegistry({ credentials });
    await using folder = await temporaryFolder();
    const result = await runCli(["check", "--json", `${registry.host}/my/app`], { cwd: folder.path, env });
    expect(result.code).toBe(1);
    const { steps, ...rest } = JSON.parse(result.stdout);
    expect(rest).toEqual({
      version: 1,
      origin: registry.url,
      target: `${registry.host}/my/app:TAG`,
      ready: false,
    });
    expect(steps.find(({ step }: { step: string }) => step === "login")).toMatchObject({
      state: "failed",
      code: "PASSWORD_MISSING",
    });
  });

  test.each(["--json", "--retries=1"])(
    "with %s brings no control character of a server to the terminal",
    async (flag) => {
      const title = "<title>a\u001b[31m\u202eb ##[error]</title>";
      await using server = startHttpServer(
        () => new Response(title, { headers: { "content-type": "text/html" } }),
      );
      await using folder = await temporaryFolder();
      const { code, stdout, stderr } = await runCli(["check", flag, server.host], { cwd: folder.path });
      expect(code).toBe(1);
      expect(stdout + stderr).toContain("31m");
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are looked for
      expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]|##\[/);
    },
  );

  test("names a step that takes long, on standard error", async () => {
    await using server = startRawServer(undefined);
    await using folder = await temporaryFolder();
    const args = ["check", `${server.host}/my/app`, "--stall-timeout", "2"];
    const { code, stdout, stderr } = await runCli(args, { cwd: folder.path });
    expect(code).toBe(1);
    expect(stderr).toBe("Checking Registry …\n");
    expect(stdout).toContain("✗ Registry");
  });

  test("that is interrupted cancels its upload, and ends with 130", async () => {
    const { promise: cancelled, resolve } = Promise.withResolvers<undefined>();
    let interrupt = () => {};
    await using registry = await startTestRegistry({
      async intercept(_, kind) {
        if (kind === "cancel-upload") resolve(undefined);
        if (kind !== "patch") return undefined;
        interrupt();
        return cancelled;
      },
    });
    await using folder = await temporaryFolder();
    const child = startCli(["check", `${registry.host}/my/app`], { cwd: folder.path });
    interrupt = () => child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(registry.recorded("cancel-upload")).toMatchObject([{ status: 204 }]);
    expect(await child.stdout.text()).not.toContain("ready");
    expect(await child.stderr.text()).toBe("Interrupted: the check did not finish.\n");
  });
});
