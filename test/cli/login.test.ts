/** The commands `login` and `logout`, as whole processes. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, readdir } from "node:fs/promises";
import { join } from "node:path";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { atTerminal } from "../support/at-terminal.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { startRawServer } from "../support/raw-server.ts";
import {
  type CliOptions,
  cliCommand,
  cliEnvironment,
  PROGRAM,
  runCli,
  startCli,
} from "../support/run-cli.ts";
import { findSecrets } from "../support/secret-search.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const ME = { username: "me", password: "hush-Xq7-zebra" };
const IMAGE = dockerArchive([seededBytes(600, 1)]);
const CONFIG = ".docker/config.json";

/** A home folder, and a working folder in it. */
async function openHome(config?: unknown) {
  const home = await temporaryFolder();
  const at = (path: string) => join(home.path, path);
  await Bun.write(at("work/output.tar"), IMAGE.archive);
  if (config !== undefined) await Bun.write(at(CONFIG), JSON.stringify(config));
  return {
    path: home.path,
    at,
    async run(
      args: readonly string[],
      input?: CliOptions["input"],
      env: Readonly<Record<string, string>> = {},
    ) {
      const result = await runCli(args, {
        cwd: at("work"),
        env: { HOME: home.path, ...env },
        ...(input !== undefined && { input }),
      });
      const places = [result.stdout, result.stderr].map(
        (text, i) => [`output ${i}`, Buffer.from(text)] as const,
      );
      expect(findSecrets(new Map(places), new Map([["the password", ME.password]]))).toEqual([]);
      // Nothing is left in the working folder.
      expect((await readdir(at("work"))).filter((name) => name !== ".cache")).toEqual(["output.tar"]);
      return result;
    },
    /** Adds the credential helper "x". @returns the variables to run with */
    async addHelper(script: string) {
      const path = at("bin/docker-credential-x");
      await Bun.write(path, `#!/bin/sh\n${script}\n`);
      await chmod(path, 0o755);
      return { PATH: `${at("bin")}:${process.env["PATH"]}` };
    },
    logins: async () => JSON.parse(await Bun.file(at(CONFIG)).text()).auths as unknown,
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

/** Registries of plain HTTP by any name, for those who take it for their proxy. */
const startOwnProxy = (statusOfLogin = 200) =>
  startHttpServer(
    ({ headers }) => new Response(null, { status: headers.has("authorization") ? statusOfLogin : 401 }),
  );

/** What only a push can do, or needs. */
const WORDS_OF_PUSH = /resume|target|archive|SKIP_AUTH|USERNAME_REGISTRY/;

/** On a busy machine, standard error says what is waited for. */
const NO_WARNING = expect.not.stringContaining("Warning");

/** The arguments of the commands that a text names, each at the end of a line or in front of "&&". */
const commandsIn = (text: string) =>
  text.split(/ && |\n/).flatMap((line) => {
    const [, command] = line.split(`${PROGRAM} `);
    return command === undefined ? [] : [command.split(" ")];
  });

const entryOf = ({ username, password }: typeof ME) => ({ auth: btoa(`${username}:${password}`) });

describe.concurrent("a login", () => {
  test("with a piped password is checked and saved, and pushes use it until the logout", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const args = ["login", "-u", ME.username, registry.host];
    const login = await home.run([...args, "--password-stdin"], `${ME.password}\n`);
    expect(login.code).toBe(0);
    expect(login.stdout).toContain(registry.host);
    expect(login.stderr).toContain("unencrypted in ~/.docker/config.json");
    expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toContain("GET /v2/");
    expect(await home.logins()).toEqual({ [registry.host]: entryOf(ME) });
    expect(await readdir(home.at("work"))).toEqual(["output.tar"]);

    const target = `${registry.host}/my/app:v1`;
    const push = await home.run([target]);
    expect([push.code, push.stdout]).toEqual([0, expect.stringContaining(target)]);

    const logout = await home.run(["logout", registry.host]);
    expect([logout.code, logout.stdout]).toEqual([0, expect.stringContaining("Logged out")]);
    expect(await home.logins()).toEqual({});
    expect((await home.run([target])).code).toBe(1);
  });

  test("takes user and password from the variables of a push", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const env = { USERNAME_REGISTRY: ME.username, REGISTRY_JWT_TOKEN: ME.password };
    expect((await home.run(["login", registry.host], undefined, env)).code).toBe(0);
    expect(await home.logins()).toEqual({ [registry.host]: entryOf(ME) });
  });

  test("with a token in REGISTRY_JWT_TOKEN needs no user name", async () => {
    const token = { username: "v0", password: ME.password };
    await using registry = await startTestRegistry({ credentials: token });
    await using home = await openHome();
    const env = { REGISTRY_JWT_TOKEN: token.password };
    expect((await home.run(["login", registry.host], undefined, env)).code).toBe(0);
    expect(await home.logins()).toEqual({ [registry.host]: entryOf(token) });
  });

  test.each(["--verbose", "--debug"])("with %s shows its requests, as a push does", async (flag) => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const { stderr } = await home.run(["login", "-u", "me", flag, registry.host], ME.password);
    expect(stderr).toContain(`GET http://${registry.host}/v2/ 200`);
  });

  test("says what it waits for while a slow registry checks it", async () => {
    const asked = Promise.withResolvers<void>();
    const said = Promise.withResolvers<void>();
    await using server = startHttpServer(async ({ headers }) => {
      asked.resolve();
      await said.promise;
      return new Response(null, { status: headers.has("authorization") ? 200 : 401 });
    });
    await using home = await openHome();
    const child = startCli(["login", "-u", "me", server.host], { cwd: home.path });
    child.stdin.write(ME.password);
    await child.stdin.end();
    await asked.promise;
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      if (!text.includes(`Asking ${server.host}`)) continue;
      said.resolve();
      break;
    }
    expect(await child.exited).toBe(0);
  });

  test("shows no secret that a registry sends back", async () => {
    await using server = startHttpServer(({ headers }) => {
      const message = `no: ${headers.get("authorization")} ${ME.password}`;
      const errors = [{ code: "UNAUTHORIZED", message, detail: message }];
      return Response.json(
        { errors },
        { status: 401, headers: { "www-authenticate": `Basic realm="${message}"` } },
      );
    });
    await using home = await openHome();
    const { code } = await home.run(["login", "-u", "me", "--debug", server.host], ME.password);
    expect(code).toBe(1);
  });

  test("that the registry refuses is not saved", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const { code, stdout, stderr } = await home.run(["login", "-u", "me", registry.host], "wrong");
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("does not accept");
    expect(await Bun.file(home.at(CONFIG)).exists()).toBe(false);
  });

  test("at a registry with a token server asks that for a token without any rights", async () => {
    await using tokens = startTokenServer({ credentials: ME });
    await using registry = await startTestRegistry({ tokens });
    await using home = await openHome();
    const { code } = await home.run(["login", "-u", "me", registry.host], ME.password);
    expect(code).toBe(0);
    expect(tokens.requests).toMatchObject([{ method: "GET", scopes: [] }]);
    const wrong = await home.run(["login", "-u", "me", registry.host], "wrong");
    expect(wrong.code).toBe(1);
    expect(await home.logins()).toEqual({ [registry.host]: entryOf(ME) });
  });

  test("at a registry that is open to everybody is saved with a warning", async () => {
    await using registry = await startTestRegistry();
    await using home = await openHome();
    const { code, stderr } = await home.run(["login", "-u", "me", registry.host], ME.password);
    expect(code).toBe(0);
    expect(stderr).toContain("may not have been checked");
  });

  test.each([
    ["an answer of 302", 302],
    ["an answer of 404", 404],
    ["an answer of 429", 429],
    ["an answer of 503", 503],
    ["no answer", undefined],
  ])("that was accepted is saved without a warning if an anonymous request gets %s", async (_, status) => {
    let isAccepted = false;
    await using server = startHttpServer(async ({ headers }) => {
      if (headers.has("authorization")) {
        isAccepted = true;
        return new Response();
      }
      if (!isAccepted) return new Response(null, { status: 401 });
      if (status === undefined) await server[Symbol.asyncDispose]();
      return new Response(null, { status: status ?? 500 });
    });
    await using home = await openHome();
    const { code, stderr } = await home.run(["login", "-u", "me", server.host], ME.password);
    expect([code, stderr]).toEqual([0, expect.not.stringContaining("may not have been checked")]);
    expect(await home.logins()).toEqual({ [server.host]: entryOf(ME) });
  });

  test("over plain HTTP to another machine warns that the password can be intercepted", async () => {
    await using server = startOwnProxy();
    await using home = await openHome();
    const args = ["login", "-u", "me", "http://registry.example.com"];
    const { code, stderr } = await home.run(args, ME.password, { HTTP_PROXY: server.url });
    expect(stderr).toContain("can be intercepted");
    expect(code).toBe(0);
    expect(await home.logins()).toEqual({ "registry.example.com": entryOf(ME) });
  });

  test("goes to the file of --authfile, from where a push takes it until the logout", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const target = `${registry.host}/my/app:v1`;
    const own = ["--authfile", home.at("own/auth.json")];
    expect((await home.run(["login", "-u", "me", ...own, registry.host], ME.password)).code).toBe(0);
    expect((await home.run([...own, target])).code).toBe(0);
    expect((await home.run([target])).code).toBe(1);
    const out = await home.run(["logout", ...own, registry.host]);
    expect([out.code, out.stderr]).toEqual([0, NO_WARNING]);
    expect(JSON.parse(await Bun.file(home.at("own/auth.json")).text())).toEqual({ auths: {} });
  });

  test("goes to the file of REGISTRY_AUTH_FILE, from where a push takes it", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const env = { REGISTRY_AUTH_FILE: home.at("other.json") };
    expect((await home.run(["login", "-u", "me", registry.host], ME.password, env)).code).toBe(0);
    expect((await home.run([`${registry.host}/my/app:v1`], undefined, env)).code).toBe(0);
    expect(await Bun.file(home.at(CONFIG)).exists()).toBe(false);
  });

  test.each<[string, string[], string]>([
    ["without a registry", [], "login registry.example.com"],
    ["with two registries", ["a.example.com", "b.example.com"], "More than one"],
    ["with a repository", ["a.example.com/my/app:v1"], "login a.example.com"],
    ["with a URL that has a path", ["https://a.example.com/v2/"], "login https://a.example.com"],
    ["without a host", ["nonsense"], "nonsense"],
    ["without a user, where nobody can be asked", ["a.example.com"], "--username"],
    ["with the password as a flag", ["-p", "hush-Xq7-zebra", "a.example.com"], "login --username me"],
    ["with a flag of a push alone", ["--chunk-size", "5MB", "a.example.com"], "--chunk-size"],
  ])("%s is wrong use", async (_, args, words) => {
    await using home = await openHome();
    const { code, stdout, stderr } = await home.run(["login", ...args]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(words);
  });

  test("without a user is wrong use beside the variable of a credential command, too", async () => {
    await using registry = await startTestRegistry({ credentials: { ...ME, username: "v0" } });
    await using home = await openHome();
    const env = { CHUNKPUSH_CREDENTIAL_COMMAND: "echo wrong" };
    const { code, stderr } = await home.run(["login", registry.host], ME.password, env);
    expect([code, stderr]).toEqual([2, expect.stringContaining("--username")]);
  });

  test.each<[string, string | Uint8Array<ArrayBuffer>, number]>([
    ["no password", "", 1],
    ["an empty line", "\n", 1],
    ["an archive", seededBytes(200_000, 4), 2],
  ])(
    "with %s on standard input is refused, and names a login to pipe the password into",
    async (_, input, code) => {
      await using home = await openHome();
      const result = await home.run(["login", "-u", "jane", "http://a.example.com"], input);
      expect([result.code, result.stdout]).toEqual([code, ""]);
      expect(result.stderr).toContain(`${PROGRAM} login --username jane http://a.example.com`);
      expect(result.stderr).not.toMatch(WORDS_OF_PUSH);
    },
  );

  test.each<[string, string | undefined]>([
    ["breaks off", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{"],
    ["is silent", undefined],
    ["fails", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"],
    ["limits requests", "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"],
  ])("at a registry that %s says nothing of resuming", async (_, answer) => {
    await using server = startRawServer(answer);
    await using home = await openHome();
    const args = ["login", "-u", "me", "--retries", "0", "--stall-timeout", "1", server.host];
    const { code, stderr } = await home.run(args, ME.password);
    expect([code, stderr]).toEqual([1, expect.stringContaining("Error:")]);
    expect(stderr).not.toMatch(WORDS_OF_PUSH);
  });

  test.each(["login", "logout"])(
    "or logout with a broken file of logins names --authfile, which helps: %s",
    async (name) => {
      await using registry = await startTestRegistry({ credentials: ME });
      await using home = await openHome();
      await Bun.write(home.at(CONFIG), "{");
      const isLogin = name === "login";
      const args = [name, ...(isLogin ? ["-u", "me"] : []), registry.host];
      const { code, stderr } = await home.run(args, isLogin ? ME.password : undefined);
      expect([code, stderr]).toEqual([1, expect.stringContaining("--authfile")]);
      expect(stderr).not.toMatch(WORDS_OF_PUSH);
    },
  );

  test("that is interrupted says nothing of resuming", async () => {
    await using home = await openHome();
    const child = startCli(["login", "-u", "me", "a.example.com"], { cwd: home.path });
    let said = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (text.includes("Waiting for the password")) child.kill("SIGINT");
    }
    expect([await child.exited, said]).toEqual([130, expect.stringContaining("Interrupted.")]);
    expect(said).not.toMatch(WORDS_OF_PUSH);
  });

  test("with a password in the registry's place repeats no password", async () => {
    await using home = await openHome();
    const { code } = await home.run(["login", `me:${ME.password}@registry.example.com/x`]);
    expect(code).toBe(2);
  });
});

describe.concurrent("a logout", () => {
  test("says that there was no login in its file, and names those of another file", async () => {
    await using home = await openHome();
    const podman = { auths: { "a.example.com": entryOf(ME), "a.example.com/team": entryOf(ME) } };
    await Bun.write(home.at(".config/containers/auth.json"), JSON.stringify(podman));
    // Podman's folder of the session has no place here.
    const env = { XDG_RUNTIME_DIR: home.at("run") };
    const { code, stdout, stderr } = await home.run(["logout", "a.example.com"], undefined, env);
    expect(code).toBe(0);
    expect(stdout).toBe("There is no login to a.example.com in ~/.docker/config.json.\n");
    expect(stderr).toContain("a login to a.example.com in ~/.config/containers/auth.json");
    expect(stderr).toContain("a login to a.example.com/team");
    const out = await home.run(
      ["logout", "--authfile", home.at(".config/containers/auth.json"), "a.example.com/team"],
      undefined,
      env,
    );
    expect(out.stdout).toContain("Logged out of a.example.com/team");
  });

  test("of a part of a registry says nothing of the login to the registry, which stays", async () => {
    const auths = { "a.example.com": entryOf(ME), "a.example.com/team": entryOf(ME) };
    await using home = await openHome({ auths });
    const { code, stdout, stderr } = await home.run(["logout", "a.example.com/team"]);
    expect([code, stderr]).toEqual([0, NO_WARNING]);
    expect(stdout).toContain("Logged out of a.example.com/team");
    expect(await home.logins()).toEqual({ "a.example.com": entryOf(ME) });
  });

  test("prints commands that remove what another file or a part of the registry still has", async () => {
    await using home = await openHome({ auths: { "a.example.com": entryOf(ME) } });
    await Bun.write(home.at("named.json"), JSON.stringify({ auths: { "a.example.com/team": entryOf(ME) } }));
    const env = { REGISTRY_AUTH_FILE: home.at("named.json") };
    const { code, stderr } = await home.run(["logout", "a.example.com"], undefined, env);
    expect(code).toBe(0);
    expect(stderr).not.toContain("podman");
    const commands = commandsIn(stderr);
    expect(commands).toHaveLength(2);
    for (const command of commands)
      expect(await home.run(command, undefined, env)).toMatchObject({ code: 0, stderr: NO_WARNING });
    expect(await home.logins()).toEqual({});
    expect(JSON.parse(await Bun.file(home.at("named.json")).text())).toEqual({ auths: {} });
  });

  test("succeeds with a warning if another file with logins is broken", async () => {
    await using home = await openHome({ auths: { "a.example.com": entryOf(ME) } });
    await Bun.write(home.at(".config/containers/auth.json"), "{");
    const env = { XDG_RUNTIME_DIR: home.at("run") };
    const { code, stdout, stderr } = await home.run(["logout", "a.example.com"], undefined, env);
    expect([code, stdout]).toEqual([0, expect.stringContaining("Logged out")]);
    expect(stderr).toContain("~/.config/containers/auth.json");
  });

  test("shows no password that a key of the file has in front of its host", async () => {
    const key = `https://me:${ME.password}@a.example.com`;
    await using home = await openHome({ auths: { [key]: { auth: "bWU6bWU=" } } });
    expect((await home.run(["logout", "a.example.com"])).code).toBe(0);
    const out = await home.run(["logout", "--all"]);
    expect([out.code, out.stdout]).toEqual([0, expect.stringContaining("Logged out of a.example.com.")]);
    expect(await home.logins()).toEqual({});
  });

  test.each(["a.example.com", "--all"])("fails where the --authfile is missing: %s", async (which) => {
    await using home = await openHome({ auths: { "a.example.com": entryOf(ME) } });
    const { code, stdout, stderr } = await home.run(["logout", "--authfile", "none.json", which]);
    expect([code, stdout, stderr]).toEqual([1, "", expect.stringContaining("none.json")]);
  });

  test.each(["http://myregistry", "myregistry"])(
    "accepts the registry of one label that a login accepted: %s",
    async (name) => {
      await using server = startOwnProxy();
      await using home = await openHome();
      const env = { HTTP_PROXY: server.url };
      expect((await home.run(["login", "-u", "me", "http://myregistry"], ME.password, env)).code).toBe(0);
      expect(await home.logins()).toEqual({ myregistry: entryOf(ME) });
      expect((await home.run(["logout", name])).stdout).toContain("Logged out of myregistry");
      expect(await home.logins()).toEqual({});
    },
  );

  test("of an address with a password in it repeats no password", async () => {
    await using home = await openHome();
    expect((await home.run(["logout", `https://me:${ME.password}/x@registry.example.com`])).code).toBe(2);
  });

  test.skipIf(process.platform === "win32")(
    "with --all names no registry that has a helper, but no login",
    async () => {
      await using home = await openHome({ credHelpers: { "a.example.com": "x" } });
      const env = await home.addHelper("echo credentials not found in native keychain; exit 1");
      expect(await home.run(["logout", "--all"], undefined, env)).toMatchObject({
        code: 0,
        stderr: NO_WARNING,
      });
    },
  );

  test("with --all removes every login", async () => {
    await using home = await openHome({
      auths: { "a.example.com": entryOf(ME), "b.example.com": entryOf(ME) },
    });
    const { code, stdout } = await home.run(["logout", "--all"]);
    expect([code, stdout.match(/Logged out of/g)?.length]).toEqual([0, 2]);
    expect(await home.logins()).toEqual({});
  });

  // A shell stands in for the helper.
  test.skipIf(process.platform === "win32")(
    "with --all names and finishes the removals before the one that fails, and says what helps a logout",
    async () => {
      await using home = await openHome({
        credsStore: "x",
        auths: { "a.example.com": {}, "b.example.com": {} },
      });
      const helper = `read -r server || true
[ "$server" = b.example.com ] && exit 1
echo '{"Username":"me","Secret":"old"}'`;
      const env = await home.addHelper(helper);
      const { code, stdout, stderr } = await home.run(["logout", "--all"], undefined, env);
      expect([code, stderr]).toEqual([1, expect.stringContaining("b.example.com")]);
      expect(stderr).not.toMatch(WORDS_OF_PUSH);
      expect(stdout.match(/Logged out of \S+/g)).toEqual(["Logged out of a.example.com."]);
      expect(await home.logins()).toEqual({ "b.example.com": {} });
    },
  );

  test.each([
    [[]],
    [["--all", "a.example.com"]],
    [["a.example.com", "b.example.com"]],
    [["a.example.com/app:v1"]],
  ])("that names no registry, or more than one, is wrong use: %j", async (args) => {
    await using home = await openHome();
    expect((await home.run(["logout", ...args])).code).toBe(2);
  });
});

describe.concurrent("--creds", () => {
  test("gives the user and the password of a login, with a warning that does not propose to log in", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const args = ["login", "--creds", `me:${ME.password}`, registry.host];
    const { code, stderr } = await home.run(args);
    expect([code, stderr]).toEqual([0, expect.stringContaining("can see the password")]);
    expect(stderr).not.toContain("log in");
  });

  test.each(["--creds", "--dest-creds"])(
    "gives the user and the password of a push, with a warning, by the name of %s",
    async (flag) => {
      const password = "a:b:hush-Xq7-zebra";
      await using registry = await startTestRegistry({ credentials: { username: "me", password } });
      await using home = await openHome();
      const target = `${registry.host}/my/app:v1`;
      const env = { USERNAME_REGISTRY: "other", REGISTRY_JWT_TOKEN: "other" };
      const { code, stderr } = await home.run([flag, `me:${password}`, target], undefined, env);
      expect(stderr).toContain("can see the password");
      expect(code).toBe(0);
    },
  );

  test.each([
    [["--creds", "hush-Xq7-zebra"]],
    [["--creds", ":hush-Xq7-zebra"]],
    [["--creds", "me:"]],
    [["--creds", "me:hush-Xq7-zebra", "--username", "you"]],
    [["--dest-creds", "me:hush-Xq7-zebra", "--password-stdin"]],
    [["--creds=me:hush-Xq7-zebra", "--credential-command", "true"]],
  ])("is wrong use without a user or a password, or beside another one: %j", async (args) => {
    await using home = await openHome();
    const { code } = await home.run([...args, "localhost:1/my/app:v1"]);
    expect(code).toBe(2);
  });
});

test("an --authfile that does not exist is an error of a push", async () => {
  await using home = await openHome();
  const { code, stderr } = await home.run(["--authfile", "none.json", "localhost:1/my/app:v1"]);
  expect([code, stderr]).toEqual([1, expect.stringContaining("none.json")]);
});

describe.concurrent("the refusal of credentials", () => {
  const jwt = ['{"alg":"RS256"}', `{"exp":${Math.floor(Date.now() / 1000) - 3 * 3600 - 60}}`, "Xq7"]
    .map((part) => Buffer.from(part).toString("base64url"))
    .join(".");
  test.each<[string, string[], string | undefined, Record<string, string>, string]>([
    ["piped in with a space at the end", ["-u", "me"], "wrong \n", {}, "ends in a space"],
    ["set to an expired token", [], undefined, { REGISTRY_JWT_TOKEN: jwt }, "expired 3 hours ago"],
    [
      "set to a token that is none",
      [],
      undefined,
      { REGISTRY_JWT_TOKEN: "wrong" },
      "accept REGISTRY_JWT_TOKEN.",
    ],
    ["given in an argument", ["--creds", "me:wrong"], undefined, {}, "password in --creds"],
    ["printed by a command", ["--credential-command", "echo wrong"], undefined, {}, "the credential command"],
  ])("says what is wrong with those that were %s", async (_, args, input, env, words) => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const { code, stderr } = await home.run([...args, `${registry.host}/my/app:v1`], input, env);
    expect([code, stderr]).toEqual([1, expect.stringContaining(words)]);
  });

  test.each<[string, (host: string) => string, string[]]>([
    ["the registry", (host) => host, []],
    ["the registry in the file of --authfile", (host) => host, ["--authfile", "../own.json"]],
    ["a part of the registry", (host) => `${host}/my`, []],
    [
      "a part of the registry in the file of --authfile",
      (host) => `${host}/my`,
      ["--authfile", "../own.json"],
    ],
  ])("ends in commands that replace the saved login to %s", async (_, key, flags) => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const config = { auths: { [key(registry.host)]: entryOf({ ...ME, password: "old" }) } };
    await Bun.write(home.at(flags.length > 0 ? "own.json" : CONFIG), JSON.stringify(config));
    const push = [...flags, `${registry.host}/my/app:v1`];
    const refused = await home.run(push);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("does not accept")]);
    for (const command of commandsIn(refused.stderr)) {
      const [name = "", ...args] = command;
      const user = name === "login" ? ["--username", "me"] : [];
      const done = await home.run([name, ...user, ...args], name === "login" ? ME.password : undefined);
      expect(done).toMatchObject({ code: 0 });
    }
    expect((await home.run(push)).code).toBe(0);
  });

  test("names a registry of plain HTTP with its scheme", async () => {
    await using server = startOwnProxy(401);
    await using home = await openHome({ auths: { "registry.example.com": entryOf(ME) } });
    const args = ["--insecure", "registry.example.com/my/app:v1"];
    const { stderr } = await home.run(args, undefined, { HTTP_PROXY: server.url });
    expect(commandsIn(stderr)).toEqual([["login", "http://registry.example.com"]]);
  });

  test("names the file that has the login", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome({ auths: { [registry.host]: entryOf({ ...ME, password: "old" }) } });
    const { code, stderr } = await home.run([`${registry.host}/my/app:v1`]);
    expect(stderr).toContain('the login of "me" in ~/.docker/config.json');
    expect(code).toBe(1);
  });
});

describeWith("python3", "at a terminal", () => {
  const SHOWN_CURSOR = "\u001b[?25h";
  const HIDDEN_CURSOR = "\u001b[?25l";
  const run = async (
    home: { readonly path: string },
    command: readonly string[],
    options: Partial<Parameters<typeof atTerminal>[1]>,
  ) => {
    const { screen, code } = await atTerminal(command, {
      cwd: home.path,
      env: cliEnvironment({ cwd: home.path }),
      prompt: "User name for",
      ...options,
    });
    expect(screen).not.toContain("Xq7");
    expect(screen.lastIndexOf(SHOWN_CURSOR)).toBeGreaterThanOrEqual(screen.lastIndexOf(HIDDEN_CURSOR));
    return { screen, code };
  };
  const typed = { keys: "me\\r", followUps: [["Password of me", `${ME.password}\\r`]] as const };

  test("a login asks for the user and, hidden, for the password", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const { screen, code } = await run(home, cliCommand(["login", registry.host]), typed);
    expect(screen).toContain("Logged in to");
    expect(code).toBe(0);
    expect(await home.logins()).toEqual({ [registry.host]: entryOf(ME) });
  });

  test.each(["2>errors", "</dev/null 2>errors >output", "</dev/null"])(
    "a login asks there if it is redirected with %s, too",
    async (redirections) => {
      await using registry = await startTestRegistry({ credentials: ME });
      await using home = await openHome();
      const command = ["sh", "-c", `"$@" ${redirections}`, "sh", ...cliCommand(["login", registry.host])];
      const { code } = await run(home, command, typed);
      expect(code).toBe(0);
      expect(await home.logins()).toEqual({ [registry.host]: entryOf(ME) });
    },
  );

  test("a push as the user who has logged in asks for no password", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome({ auths: { [registry.host]: entryOf(ME) } });
    const command = cliCommand(["--username", "me", `${registry.host}/my/app:v1`]);
    const env = cliEnvironment({ cwd: home.path });
    const never = { cwd: home.at("work"), env, prompt: "Password of", signal: "SIGKILL" };
    expect((await atTerminal(command, never)).code).toBe(0);
  });

  test("a wrong password that was typed is called so in the refusal", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const command = cliCommand(["--username", "me", `${registry.host}/my/app:v1`]);
    const typing = { prompt: "Password of me", keys: "wrong\\r" };
    const { screen, code } = await run({ path: home.at("work") }, command, typing);
    expect(screen).toContain("that you typed");
    expect(screen).not.toContain("piped");
    expect(code).toBe(1);
  });

  test("a push asks there for the password where standard error is a file", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await openHome();
    const push = cliCommand(["--username", "me", `${registry.host}/my/app:v1`]);
    const command = ["sh", "-c", '"$@" 2>../errors', "sh", ...push];
    const typing = { prompt: "Password of me", keys: `${ME.password}\\r` };
    expect((await run({ path: home.at("work") }, command, typing)).code).toBe(0);
  });

  test.each([
    ["Ctrl-C", "the user name", "User name for", "jan\\x03", []],
    ["Ctrl-C", "the password", "User name for", "me\\r", [["Password of me", "half-Xq7\\x03"]]],
    ["Ctrl-D", "the user name", "User name for", "\\x04", []],
    ["Ctrl-D", "the password", "User name for", "me\\r", [["Password of me", "\\x04"]]],
  ] as const)(
    "%s ends the question for %s, and the cursor is back",
    async (_, __, prompt, keys, followUps) => {
      await using registry = await startTestRegistry({ credentials: ME });
      await using home = await openHome();
      const asked = { prompt, keys, followUps };
      const { code, screen } = await run(home, cliCommand(["login", registry.host]), asked);
      expect(code).toBe(130);
      expect(screen).not.toContain("half-Xq7");
      expect(registry.requests).toEqual([]);
      expect(await Bun.file(home.at(CONFIG)).exists()).toBe(false);
    },
  );
});
