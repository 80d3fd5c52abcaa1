/** The command `proxy`: its arguments, and whole processes. */

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { servedRepository } from "../../src/cli/proxy-command.ts";
import { type ProxyCommand, parseProxyCommand } from "../../src/cli/proxy-program.ts";
import { exitCodeOf, PushError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { describeWith } from "../support/needs.ts";
import { asNobody, canRunAsNobody } from "../support/nobody.ts";
import { type CliOptions, cliCommand, cliEnvironment, runCli, startCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const HOST = "registry.example.com";

function parse(args: readonly string[], env: Record<string, string> = {}): ProxyCommand {
  const command = parseProxyCommand(args, env);
  if (typeof command === "string") throw new Error(`expected a proxy, not: ${command}`);
  return command;
}

function refusal(args: readonly string[]): PushError {
  try {
    parse(args);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error(`${args.join(" ")} was taken`);
}

describe("the arguments of a proxy", () => {
  test("are a registry, and everything else as documented", () => {
    const { target, port, readOnly, allow, spoolDirectory, spoolLimitBytes, command } = parse([HOST]);
    expect(target).toEqual({ scheme: undefined, host: HOST });
    expect({ port, readOnly, allow, spoolDirectory, spoolLimitBytes, command }).toEqual({
      port: undefined,
      readOnly: false,
      allow: [],
      spoolDirectory: undefined,
      spoolLimitBytes: 10_000_000_000,
      command: [],
    });
  });

  test.each([
    ["registry.example.com/", undefined, HOST],
    ["https://registry.example.com", "https", HOST],
    ["https://registry.example.com/", "https", HOST],
    ["http://Registry.Example.com:5000", "http", "registry.example.com:5000"],
    ["localhost", undefined, "localhost"],
    ["[::1]:5000", undefined, "[::1]:5000"],
    ["docker.io", undefined, "docker.io"],
    ["index.docker.io", undefined, "docker.io"],
  ] as const)("name the registry %s", (text, scheme, host) => {
    expect(parse([text]).target).toEqual({ scheme, host });
  });

  test("are flags before and after the registry", () => {
    const flags = ["--port", "6000", "--read-only", "--allow", "team/", "--allow=other/app"];
    for (const args of [
      [HOST, ...flags],
      [...flags, HOST],
    ]) {
      expect(parse(args)).toMatchObject({ port: 6000, readOnly: true, allow: ["team/", "other/app"] });
    }
    const spool = parse([HOST, "--spool-dir", "/var/spool/x", "--spool-limit", "5GiB"]);
    expect(spool).toMatchObject({ spoolDirectory: "/var/spool/x", spoolLimitBytes: 5 * 1024 ** 3 });
  });

  test("are a user and a password as in a push", () => {
    const env = { REGISTRY_JWT_TOKEN: "s3cret", INSECURE_HTTP_PUSH: "true" };
    expect(parse([HOST, "--username", "me"], env)).toMatchObject({
      username: "me",
      password: "s3cret",
      insecure: true,
    });
  });

  test("are a command after two dashes, whose flags are its own", () => {
    const { command, readOnly } = parse([HOST, "--", "docker", "--read-only", "--", "{}/app"]);
    expect({ command, readOnly }).toEqual({
      command: ["docker", "--read-only", "--", "{}/app"],
      readOnly: false,
    });
  });

  test.each([
    [[], "No registry was named"],
    [["--", "true"], "No registry was named"],
    [[HOST, "--"], "No command"],
    [[HOST, "docker", "push", "{}/app"], 'Put "--"'],
    [[HOST, "--port", "0"], "--port"],
    [[HOST, "--port", "70000"], "--port"],
    [[HOST, "--port", "x"], "--port"],
    [[HOST, "--spool-limit", "0"], "--spool-limit"],
    [[HOST, "--spool-limit", "much"], "--spool-limit"],
    [[HOST, "--spool-dir", ""], "--spool-dir"],
    [[HOST, "--allow", ""], "--allow"],
    [[HOST, "--allow", "Team/"], "--allow"],
    [[HOST, "--allow", "../x"], "--allow"],
    [[HOST, "--bogus"], "--bogus"],
  ] as const)("%j are refused with the word %s", (args, word) => {
    const error = refusal(args);
    expect(error.code).toBe("USAGE");
    expect(`${error.message} ${error.hint}`).toContain(word);
    expect(`${error.message} ${error.hint}`).not.toMatch(/\bpush\b.*\btarget\b|source/);
  });

  test.each(["foo", "", "http://", "registry.example.com:v1", "a b.example.com"])(
    "name no registry with %j",
    (text) => {
      const error = refusal([text]);
      expect([error.code, exitCodeOf(error)]).toEqual(["REFERENCE_INVALID", 2]);
      expect(`${error.message} ${error.hint}`).not.toMatch(/Cannot push|\/app/);
    },
  );

  test("name no registry with a path, which would be taken for another one", () => {
    expect(refusal([`${HOST}/team/app`, "--", "true"]).code).toBe("REFERENCE_INVALID");
  });

  test("give no password away that stands in the address", () => {
    for (const text of ["me:s3cret@registry.example.com", "https://me:s3cret@registry.example.com"]) {
      const error = refusal([text]);
      expect(error.code).toBe("REFERENCE_INVALID");
      expect(`${error.message} ${error.hint}`).not.toContain("s3cret");
    }
  });

  test("ask for help", () => {
    const help = parseProxyCommand(["--help"], {});
    for (const word of [
      "--port",
      "--read-only",
      "--allow",
      "--spool-dir",
      "--username",
      "docker push {}/my/app:v1",
    ])
      expect(help).toContain(word);
  });
});

/** A registry, and a folder to run in. */
async function setUp(options: Parameters<typeof startTestRegistry>[0] = {}) {
  const resources = new AsyncDisposableStack();
  const registry = resources.use(await startTestRegistry(options));
  const folder = resources.use(await temporaryFolder());
  return {
    registry,
    cwd: folder.path,
    run: (args: readonly string[], more: Partial<CliOptions> = {}) =>
      runCli(["proxy", registry.host, ...args], { cwd: folder.path, ...more }),
    spooled: async () =>
      (await readdir(join(folder.path, ".cache"))).filter((name) => name.startsWith("spool-")),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A command that runs JavaScript. */
function script(code: string, ...args: string[]): string[] {
  return ["--", process.execPath, "-e", code, ...args];
}

const BLOB = seededBytes(3000, 1);
const DIGEST = digestOf(BLOB);
const ENCODED = Buffer.from(BLOB).toString("base64");

/** Pushes a blob to the address in the first argument. */
const PUSH_BLOB = `
  const { argv } = process;
  const bytes = Buffer.from(argv[2], "base64");
  const { status } = await fetch("http://" + argv[1] + "/v2/team/app/blobs/uploads/?digest=${DIGEST}", {
    method: "POST", body: bytes });
  console.log("answered", status);`;

/** Sends a blob, and hangs up before its last request is answered. */
const LEAVE = `
  const { connect } = await import("node:net");
  const { argv } = process;
  const url = "http://" + argv[1];
  const begun = await fetch(url + "/v2/team/app/blobs/uploads/", { method: "POST" });
  const place = begun.headers.get("location");
  await fetch(url + place, { method: "PATCH", body: Buffer.from(argv[2], "base64") });
  const closing = connect(Number(new URL(url).port), "127.0.0.1");
  closing.write("PUT " + place + "?digest=${DIGEST} HTTP/1.1\\r\\nHost: " + argv[1] + "\\r\\nContent-Length: 0\\r\\n\\r\\n");
  // Said to be there once all of it is in the spool.
  const isThere = async () => (await fetch(url + "/v2/team/app/blobs/${DIGEST}", { method: "HEAD" })).ok;
  while (!(await isThere()));
  closing.destroy();
  // By the second answer, the proxy has seen that the connection was closed.
  for (const _ of [1, 2]) await isThere();
  console.log("gone");`;

test("Docker Hub's images are allowed by either name, and asked for by the long one", () => {
  for (const prefix of ["alpine", "library/alpine", "library/", "library"])
    expect(servedRepository("docker.io", [prefix], "alpine")).toBe("library/alpine");
  expect(servedRepository("docker.io", ["library/"], "me/app")).toBeUndefined();
  expect(servedRepository("docker.io", [], "alpine")).toBe("library/alpine");
  expect(servedRepository("registry.example.com", ["library"], "alpine")).toBeUndefined();
});

describe("a proxy beside a command", () => {
  test("puts its address in every argument, on a free port, and lets the command push", async () => {
    await using setup = await setUp();
    const echo = script("console.log(process.argv.slice(1).join(' '))", "{}", "x{}/a:{}");
    const { code, stdout } = await setup.run(echo);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^(localhost:\d+) x\1\/a:\1\n$/);
    const pushed = await setup.run(script(PUSH_BLOB, "{}", ENCODED));
    expect(pushed).toMatchObject({ code: 0, stdout: "answered 201\n" });
    expect(await setup.registry.pullBlob("team/app", DIGEST)).toEqual(BLOB);
    expect(await setup.spooled()).toEqual([]);
  });

  test.each([
    ["3", "process.exit(3)", 3],
    ["that of a signal", "process.kill(process.pid, 'SIGKILL'); await Bun.sleep(10_000)", 128 + 9],
  ] as const)("ends with the command's exit code: %s", async (_, code, expected) => {
    await using setup = await setUp();
    const result = await setup.run(script(code));
    expect(result.code).toBe(expected);
    expect(result.stderr).not.toContain("Error");
  });

  test("gives the command the environment without the registry's secrets", async () => {
    await using setup = await setUp();
    const code =
      "console.log(JSON.stringify([process.env.REGISTRY_JWT_TOKEN, process.env.CHUNKPUSH_HEADERS, process.env.KEPT]))";
    const env = { REGISTRY_JWT_TOKEN: "s3cret", CHUNKPUSH_HEADERS: "x-a: s3cret", KEPT: "kept" };
    const { stdout } = await setup.run(script(code), { env });
    expect(JSON.parse(stdout)).toEqual([null, null, "kept"]);
  });

  test.each([
    ["team", "team,team/app", "teamwork,teamwork/x,other,tea"],
    ["team/", "team/app,team/a/b", "team,teamwork/x"],
    ["team/app", "team/app,team/app/x", "team,team/app2"],
  ])("serves with --allow %s only what begins so, part by part", async (prefix, allowed, refused) => {
    await using setup = await setUp();
    const code = `
      for (const name of process.argv.slice(2).join(",").split(","))
        console.log(name, (await fetch("http://" + process.argv[1] + "/v2/" + name + "/manifests/v1")).status);`;
    const { stdout } = await setup.run(["--allow", prefix, ...script(code, "{}", allowed, refused)]);
    expect(stdout.trim().split("\n")).toEqual([
      ...allowed.split(",").map((name) => `${name} 404`),
      ...refused.split(",").map((name) => `${name} 403`),
    ]);
  });

  test("gives the command what is left of standard input", async () => {
    await using setup = await setUp();
    const { stdout } = await setup.run(script("console.log(await Bun.stdin.text())"), { input: "given" });
    expect(stdout).toBe("given\n");
  });

  test.each([
    ["that does not exist", "no-such-command", ""],
    ["without a name", "", ""],
    ["that no system runs", "./not-executable", "neither a script nor a program"],
  ])("refuses a command %s", async (_, name, content) => {
    await using setup = await setUp();
    if (content !== "") {
      await Bun.write(join(setup.cwd, name), content);
      await chmod(join(setup.cwd, name), 0o755);
    }
    const { code, stdout, stderr } = await setup.run(["--", name]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`command "${name}"`);
    if (name === "no-such-command") expect(stderr).toContain('after "--"');
    expect(stderr).not.toContain("bug in chunkpush");
  });

  /** Runs a command that leaves before the registry has its blob, and lets the registry answer then. */
  async function leave(answer: Response | undefined, exitCode = 0) {
    const isGone = Promise.withResolvers<void>();
    await using setup = await setUp({
      async intercept(_, kind) {
        if (kind !== "close-upload") return undefined;
        await isGone.promise;
        return answer;
      },
    });
    const code = `${LEAVE} process.exit(${exitCode})`;
    const child = startCli(["proxy", setup.registry.host, ...script(code, "{}", ENCODED)], {
      cwd: setup.cwd,
    });
    for await (const piece of child.stdout) if (Buffer.from(piece).toString().includes("gone")) break;
    isGone.resolve();
    const [stderr, result] = await Promise.all([child.stderr.text(), child.exited]);
    const isThere = await setup.registry.pullBlob("team/app", DIGEST).then(
      () => true,
      () => false,
    );
    return { code: result, stderr, isThere, spooled: await setup.spooled() };
  }

  test("waits for what the registry does not have when the command ends", async () => {
    expect(await leave(undefined)).toMatchObject({ code: 0, isThere: true, spooled: [] });
  });

  test("ends with 1, and names the blob, where one got lost after the command has gone", async () => {
    const result = await leave(new Response(null, { status: 400 }));
    expect(result).toMatchObject({ code: 1, isThere: false, spooled: [] });
    expect(result.stderr).toContain(`Error: The blob team/app@${DIGEST} could not be uploaded`);
  });

  test("keeps the command's own exit code where it failed besides", async () => {
    const result = await leave(new Response(null, { status: 400 }), 7);
    expect(result.code).toBe(7);
    expect(result.stderr).toContain(DIGEST);
  });

  test("says nothing of a blob whose loss the command was told", async () => {
    await using setup = await setUp({ intercept: faultAlways("close-upload", answering(400)) });
    const { code, stdout, stderr } = await setup.run(script(PUSH_BLOB, "{}", ENCODED));
    expect({ code, stdout }).toEqual({ code: 0, stdout: "answered 400\n" });
    expect(stderr).not.toContain("Error");
    expect(await setup.spooled()).toEqual([]);
  });

  test.each([
    ["SIGINT", 6],
    ["SIGTERM", 5],
  ] as const)("passes %s on to the command, and ends as that does", async (signal, expected) => {
    await using setup = await setUp();
    const code = `
      process.on("SIGINT", () => process.exit(6));
      process.on("SIGTERM", () => process.exit(5));
      console.log("ready");
      await Bun.sleep(60_000);`;
    const child = startCli(["proxy", setup.registry.host, ...script(code)], { cwd: setup.cwd });
    for await (const piece of child.stdout) if (Buffer.from(piece).toString().includes("ready")) break;
    child.kill(signal);
    expect(await child.exited).toBe(expected);
  });

  test("does not call a push done that an interrupt has cut off, whatever the command says", async () => {
    const { closing, stopped, intercept } = heldClosing();
    await using setup = await setUp({ intercept });
    const code = `process.on("SIGTERM", () => process.exit(0)); ${PUSH_BLOB}`;
    const child = startCli(["proxy", setup.registry.host, ...script(code, "{}", ENCODED)], {
      cwd: setup.cwd,
    });
    await closing.promise;
    child.kill("SIGTERM");
    expect(await child.exited).toBe(143);
    stopped.resolve();
    expect(await setup.spooled()).toEqual([]);
  });
});

/** Holds the closing request of an upload until the proxy is stopped, and drops it then. */
function heldClosing() {
  const closing = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  const intercept: Intercept = async (_, kind) => {
    if (kind !== "close-upload") return undefined;
    closing.resolve();
    await stopped.promise;
    return "drop";
  };
  return { closing, stopped, intercept };
}

/** Starts a proxy until it is stopped. */
async function startProxyCommand(registry: TestRegistry, cwd: string, args: readonly string[] = []) {
  const port = freePort();
  const child = startCli(["proxy", registry.host, "--port", `${port}`, ...args], { cwd });
  const lines: string[] = [];
  const decoder = new TextDecoder();
  const listening = Promise.withResolvers<void>();
  const ended = (async () => {
    for await (const piece of child.stderr) {
      lines.push(decoder.decode(piece, { stream: true }));
      if (lines.join("").includes("Listening")) listening.resolve();
    }
    listening.resolve();
  })();
  await listening.promise;
  return {
    url: `http://localhost:${port}`,
    port,
    async stop(signal: "SIGINT" | "SIGTERM") {
      child.kill(signal);
      const code = await child.exited;
      await ended;
      return { code, stderr: lines.join("") };
    },
    said: () => lines.join(""),
  };
}

function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  server.stop(true);
  return server.port;
}

describe("a proxy without a command", () => {
  test("says what to type next, and ends well when it is interrupted with nothing under way", async () => {
    await using setup = await setUp();
    const proxy = await startProxyCommand(setup.registry, setup.cwd);
    expect(proxy.said()).toContain(`docker push localhost:${proxy.port}/my/app:v1`);
    const response = await fetch(`${proxy.url}/v2/team/app/blobs/uploads/?digest=${DIGEST}`, {
      method: "POST",
      body: BLOB,
    });
    expect(response.status).toBe(201);
    const { code, stderr } = await proxy.stop("SIGINT");
    expect(code).toBe(0);
    expect(stderr).not.toContain("Error");
    expect(await setup.spooled()).toEqual([]);
  });

  test("says which blobs are lost, and ends with 143, when it is interrupted with some under way", async () => {
    const { closing, stopped, intercept } = heldClosing();
    await using setup = await setUp({ intercept });
    const proxy = await startProxyCommand(setup.registry, setup.cwd);
    const pushing = fetch(`${proxy.url}/v2/team/app/blobs/uploads/?digest=${DIGEST}`, {
      method: "POST",
      body: BLOB,
    }).catch(() => undefined);
    await closing.promise;
    const { code, stderr } = await proxy.stop("SIGTERM");
    expect(code).toBe(143);
    expect(stderr).toContain(DIGEST);
    stopped.resolve();
    await pushing;
    expect(await setup.spooled()).toEqual([]);
  });

  test("says so, and ends with 130, when it is interrupted while a client sends", async () => {
    await using setup = await setUp();
    const proxy = await startProxyCommand(setup.registry, setup.cwd);
    const begun = await fetch(`${proxy.url}/v2/team/app/blobs/uploads/`, { method: "POST" });
    const place = begun.headers.get("location");
    await fetch(`${proxy.url}${place}`, { method: "PATCH", body: BLOB });
    const { code, stderr } = await proxy.stop("SIGINT");
    expect(code).toBe(130);
    expect(stderr).toContain("Interrupted");
    expect(await setup.spooled()).toEqual([]);
  });

  test("listens on loopback alone", async () => {
    await using setup = await setUp();
    const proxy = await startProxyCommand(setup.registry, setup.cwd);
    const { stdout } = Bun.spawnSync(["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
    const port = proxy.port.toString(16).toUpperCase().padStart(4, "0");
    const listeners = [...stdout.toString().matchAll(new RegExp(`: (\\w+):${port} \\w+:0000 0A`, "g"))];
    expect(listeners.map(([, address]) => address)).toEqual(["0100007F"]);
    await proxy.stop("SIGINT");
  });

  test("refuses a port that is taken", async () => {
    await using setup = await setUp();
    const { port } = new URL(setup.registry.url);
    const { code, stderr } = await setup.run(["--port", port]);
    expect(code).toBe(2);
    expect(stderr).toContain(`port ${port}`);
  });

  test("shows a wrong password at the start", async () => {
    await using setup = await setUp({ credentials: { username: "me", password: "right" } });
    const env = { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "wrong-password" };
    const { code, stderr } = await setup.run([], { env });
    expect(code).toBe(1);
    expect(stderr).toContain("does not accept");
    expect(stderr).not.toContain("Listening");
    expect(stderr).not.toContain("wrong-password");
  });

  test("removes from the spool what a killed proxy left there", async () => {
    await using setup = await setUp();
    const dead = Bun.spawnSync(["true"]).pid;
    const host = hostname().replace(/[^A-Za-z0-9]+/g, "_");
    const spool = join(setup.cwd, "spool");
    const id = crypto.randomUUID();
    const names = [`spool-${host}-${dead}-${id}.tmp`, `spool-${host}-${process.pid}-${id}.tmp`, "theirs"];
    for (const name of names) await Bun.write(join(spool, name), "bytes");
    const { code } = await setup.run(["--spool-dir", "spool", ...script("")]);
    expect(code).toBe(0);
    const left = await readdir(spool);
    expect(names.filter((name) => left.includes(name))).toEqual(names.slice(1));
  });

  test("refuses a spool that is no folder", async () => {
    await using setup = await setUp();
    await Bun.write(join(setup.cwd, "file"), "");
    const { code, stderr } = await setup.run(["--spool-dir", "file/spool"]);
    expect(code).toBe(1);
    expect(stderr).toContain("--spool-dir");
  });
});

describeWith("setpriv", "a port that this user may not use", () => {
  test.skipIf(!canRunAsNobody())("is refused in words", async () => {
    await using setup = await setUp();
    await using folder = await temporaryFolder();
    await chmod(folder.path, 0o777);
    const args = cliCommand(["proxy", setup.registry.host, "--port", "80"]);
    const child = Bun.spawn(asNobody(args), {
      cwd: folder.path,
      env: cliEnvironment({ cwd: folder.path }),
      stdin: "ignore",
      stderr: "pipe",
    });
    const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
    expect(code).toBe(2);
    expect(stderr).toContain("Cannot listen on port 80");
    expect(stderr).not.toContain("bug in chunkpush");
  });
});
