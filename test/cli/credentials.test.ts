import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { credentialsReader, givenCredentials } from "../../src/cli/credentials.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { type CliResult, cliCommand, cliEnvironment, runCli, startCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { basic, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const IMAGE = dockerArchive([seededBytes(600, 1)]);

type Setup = AsyncDisposable & { registry: TestRegistry; folder: string; target: string; archive: string };

/** A registry that lets one user in, or everybody, and an image to push. */
async function setUp(password?: string, username = "me"): Promise<Setup> {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry(
    password === undefined ? {} : { credentials: { username, password } },
  );
  const archive = join(folder.path, "output.tar");
  await Bun.write(archive, IMAGE.archive);
  return {
    registry,
    folder: folder.path,
    target: `${registry.host}/team/app:v1`,
    archive,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The push was done, and nothing that was printed gives the password away. */
function expectDone({ code, stdout, stderr }: CliResult, username: string, password: string): void {
  expect(stderr).not.toContain("Error");
  expect(code).toBe(0);
  for (const secret of [password, basic(username, password).slice("Basic ".length)]) {
    expect(stdout + stderr).not.toContain(secret);
  }
}

describe.concurrent("the password on standard input", () => {
  test.each([
    ["with echo's line end", "hush-Xq7", "hush-Xq7\n"],
    ["with a line end of Windows", "hush-Xq7", "hush-Xq7\r\n"],
    ["without a line end", "hush-Xq7", "hush-Xq7"],
    ["with colons", "a:b::Xq7:", "a:b::Xq7:\n"],
    ["with spaces, which stay", "  a b\tXq7 ", "  a b\tXq7 \n"],
    ["with a line end of its own before the last", "hush-Xq7\n", "hush-Xq7\n\n"],
    ["beyond ASCII", "Größe-€-🔑-Xq7", "Größe-€-🔑-Xq7\n"],
    ["that is long", "t".repeat(5000), `${"t".repeat(5000)}\n`],
  ])("is taken %s", async (_, password, input) => {
    await using setup = await setUp(password);
    const env = { USERNAME_REGISTRY: "me" };
    const result = await runCli([setup.target], { cwd: setup.folder, env, input });
    expectDone(result, "me", password);
    expect(result.stderr).toContain("logged in as me");
  });

  test("is the password of --username, whatever USERNAME_REGISTRY says", async () => {
    await using setup = await setUp("hush-Xq7", "jürgen");
    const args = ["--username", "jürgen", setup.target];
    const env = { USERNAME_REGISTRY: "somebody-else" };
    expectDone(await runCli(args, { cwd: setup.folder, env, input: "hush-Xq7\n" }), "jürgen", "hush-Xq7");
  });

  test.each([
    ["nothing at all", ""],
    ["an empty line", "\n"],
    ["an empty line of Windows", "\r\n"],
  ])("is missing where there is %s", async (_, input) => {
    await using setup = await setUp("hush-Xq7");
    const env = { USERNAME_REGISTRY: "me" };
    const { code, stdout, stderr } = await runCli([setup.target], { cwd: setup.folder, env, input });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("No password on standard input");
    expect(stderr).toContain("SKIP_AUTH=1");
    expect(setup.registry.requests).toEqual([]);
  });

  // At a terminal, it is asked for there.
  test.skipIf(process.stdin.isTTY)("is not waited for after an interrupt", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    const options = { environment: {}, signal, onNotice: () => {} };
    const me = {
      username: "me",
      password: undefined,
      passwordIn: "REGISTRY_JWT_TOKEN",
      passwordStdin: false,
      skipAuth: false,
    } as const;
    const asking = givenCredentials(me, "localhost:1", options);
    expect(await asking.catch((error: unknown) => error)).toBe(signal.reason);
  });

  test("is missing where standard input is closed", async () => {
    await using setup = await setUp("hush-Xq7");
    const { code, stderr } = await runCli([setup.target], {
      cwd: setup.folder,
      env: { USERNAME_REGISTRY: "me" },
    });
    expect(code).toBe(1);
    expect(stderr).toContain("No password on standard input");
  });

  test("is not an archive that was piped in by mistake", async () => {
    await using setup = await setUp("hush-Xq7");
    const env = { USERNAME_REGISTRY: "me" };
    const input = seededBytes(200_000, 4);
    const { code, stderr } = await runCli([setup.target], { cwd: setup.folder, env, input });
    expect(code).toBe(2);
    expect(stderr).toContain("Standard input is too long for a password.");
  });

  test("may come late, and chunkpush says that it waits for it", async () => {
    await using setup = await setUp("hush-Xq7");
    const child = startCli([setup.target], { cwd: setup.folder, env: { USERNAME_REGISTRY: "me" } });
    const [seen, rest] = child.stderr.tee();
    for await (const text of seen.pipeThrough(new TextDecoderStream())) {
      if (text.includes("Waiting for the password on standard input")) break;
    }
    child.stdin.write("hush-Xq7\n");
    await child.stdin.end();
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), rest.text(), child.exited]);
    expectDone({ code, stdout, stderr }, "me", "hush-Xq7");
  });

  test("may be interrupted while it is waited for", async () => {
    await using setup = await setUp("hush-Xq7");
    const child = startCli([setup.target], { cwd: setup.folder, env: { USERNAME_REGISTRY: "me" } });
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      if (text.includes("Waiting for the password")) break;
    }
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
  });
});

describe.concurrent("the password in the environment", () => {
  test("needs no standard input", async () => {
    await using setup = await setUp("hush-Xq7");
    const env = { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "hush-Xq7" };
    const child = startCli([setup.target], { cwd: setup.folder, env });
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    expectDone({ code, stdout, stderr }, "me", "hush-Xq7");
  });

  test("needs no user name: serverless-registry looks at the token alone", async () => {
    await using setup = await setUp("token-Xq7", "v0");
    const result = await runCli([setup.target], {
      cwd: setup.folder,
      env: { REGISTRY_JWT_TOKEN: "token-Xq7" },
    });
    expectDone(result, "v0", "token-Xq7");
  });

  test("gives way to --password-stdin", async () => {
    await using setup = await setUp("hush-Xq7");
    const result = await runCli(["--password-stdin", setup.target], {
      cwd: setup.folder,
      env: { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "stale-Xq7" },
      input: "hush-Xq7\n",
    });
    expectDone(result, "me", "hush-Xq7");
  });

  test("is missing if it is empty, and standard input is read", async () => {
    await using setup = await setUp("hush-Xq7");
    const env = { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "" };
    const result = await runCli([setup.target], { cwd: setup.folder, env, input: "hush-Xq7\n" });
    expectDone(result, "me", "hush-Xq7");
  });
});

describe.concurrent("standard input is left alone", () => {
  test.each<[string, Record<string, string>]>([
    ["without a user name", {}],
    ["with an empty user name", { USERNAME_REGISTRY: "" }],
    ["with SKIP_AUTH=1", { SKIP_AUTH: "1", USERNAME_REGISTRY: "me" }],
    ["with SKIP_AUTH=true", { SKIP_AUTH: "true", USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "x" }],
    ["with SKIP_AUTH=no, since any value counts", { SKIP_AUTH: "no", USERNAME_REGISTRY: "me" }],
  ])("%s", async (_, env) => {
    await using setup = await setUp();
    // Never written to, never closed: whoever reads it waits for ever.
    const child = startCli([setup.target], { cwd: setup.folder, env });
    const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
    expect(code).toBe(0);
    expect(stderr).toContain("anonymous");
    expect(stderr).not.toContain("Waiting");
    expect(setup.registry.requests.map(({ hadAuthorization }) => hadAuthorization)).not.toContain(true);
  });
});

describeWith("python3", "at a terminal", () => {
  const ask = (setup: Setup, args: string[], typed: { keys?: string; signal?: string }) =>
    atTerminal(cliCommand([...args, setup.target]), {
      cwd: setup.folder,
      env: {
        ...cliEnvironment({ cwd: setup.folder, env: { USERNAME_REGISTRY: "me" } }),
        ...(process.env["HOME"] !== undefined && { HOME: process.env["HOME"] }),
      },
      prompt: "Password of",
      ...typed,
    });

  test.each([[[]], [["--password-stdin"]]])("the password is asked for, and not shown: %j", async (args) => {
    await using setup = await setUp("hush-Xq7");
    const { screen, code } = await ask(setup, args, { keys: "hush-Xq7\\r" });
    expect(screen).toContain(`Password of me at ${setup.registry.host}`);
    expect(screen).not.toContain("hush-Xq7");
    expect(screen).not.toContain("Xq7");
    expect(screen).toContain("Pushed");
    expect(code).toBe(0);
  });

  test("a mistyped password is refused by the registry, and not shown either", async () => {
    await using setup = await setUp("hush-Xq7");
    const { screen, code } = await ask(setup, [], { keys: "wrong-Zz9\\r" });
    expect(screen).toContain("does not accept");
    expect(screen).not.toContain("Zz9");
    expect(code).toBe(1);
  });

  test("an empty password is not accepted", async () => {
    await using setup = await setUp("hush-Xq7");
    const { screen, code } = await ask(setup, [], { keys: "\\r" });
    expect(screen).toContain("No password was given");
    expect(code).toBe(1);
    expect(setup.registry.requests).toEqual([]);
  });

  test("Ctrl-C ends the question", async () => {
    await using setup = await setUp("hush-Xq7");
    const { screen, code } = await ask(setup, [], { keys: "half-Zz9\\x03" });
    expect(code).toBe(130);
    expect(screen).toContain("Interrupted");
    expect(screen).not.toContain("Zz9");
    expect(setup.registry.requests).toEqual([]);
  });

  test("SIGTERM ends the question", async () => {
    await using setup = await setUp("hush-Xq7");
    const { code } = await ask(setup, [], { signal: "SIGTERM" });
    expect(code).toBe(143);
  });
});

describe("several targets", () => {
  const read = async (command: Partial<Parameters<typeof credentialsReader>[0]>, ...hosts: string[]) => {
    await using folder = await temporaryFolder();
    const auths = Object.fromEntries(hosts.map((host) => [host, { auth: btoa(`saved:at ${host}`) }]));
    await Bun.write(join(folder.path, "config.json"), JSON.stringify({ auths }));
    const reader = credentialsReader(
      {
        username: undefined,
        password: undefined,
        passwordIn: "REGISTRY_JWT_TOKEN",
        passwordStdin: false,
        skipAuth: false,
        ...command,
      },
      "first.example.com",
      {
        environment: { DOCKER_CONFIG: folder.path },
        signal: new AbortController().signal,
        onNotice: () => {},
      },
    );
    return await Promise.all(hosts.map((host) => reader({ host, repository: "my/app" })));
  };
  const hosts = ["first.example.com", "second.example.com", "first.example.com:5000"];
  const saved = (host: string) => ({
    username: "saved",
    password: `at ${host}`,
    origin: { kind: "login", name: expect.stringContaining("config.json") as string, key: host } as const,
  });

  test("have their own saved logins, but for the first one, which alone gets the user and password that are given", async () => {
    const logins = await read({ username: "me", password: "hush" }, ...hosts);
    expect(logins.map((login) => login?.credentials)).toEqual([
      { username: "me", password: "hush", origin: { kind: "setting", name: "REGISTRY_JWT_TOKEN" } },
      ...hosts.slice(1).map(saved),
    ]);
    expect(logins[0]?.from).toBe("REGISTRY_JWT_TOKEN");
  });

  test("have their own saved logins if no user is given", async () => {
    expect((await read({}, ...hosts)).map((login) => login?.credentials)).toEqual(hosts.map(saved));
  });

  test("are all pushed to as anonymous with SKIP_AUTH", async () => {
    const logins = await read({ username: "me", password: "hush", skipAuth: true }, ...hosts);
    expect(logins).toEqual(hosts.map(() => undefined));
  });
});
