/** Whole pushes with credentials that end in the middle, and the command or helper that gives new ones. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { push } from "../../index.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { runWell } from "../support/command.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { cliCommand, cliEnvironment, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { basic, startTestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const IMAGE = dockerArchive([1, 2, 3].map((seed) => seededBytes(450_000, seed)));

/** What the registry takes one after the other, and a command prints: a new one each time that it runs. */
const PASSWORDS = Array.from({ length: 40 }, (_, i) => digestOf(seededBytes(9, i)).slice("sha256:".length));

/** Prints the next password, and notes that it was asked. */
const COMMAND = "echo asked >>asked; sed -n \"$(wc -l <asked | tr -d ' ')p\" passwords";

/** Lets in who has the password of the moment, which ends after so many requests. */
function expiring(requestsEach: number, username = "v0") {
  let served = 0;
  const state = { isOpen: false, current: 0, lastUsed: 0 };
  const intercept: Intercept = (request) => {
    if (state.isOpen) return undefined;
    const wanted = basic(username, PASSWORDS[state.current] ?? "?");
    if (request.headers.get("authorization") !== wanted) {
      const headers = { "www-authenticate": 'Basic realm="tests"' };
      return new Response(null, { status: 401, headers });
    }
    state.lastUsed = state.current;
    if (++served % requestsEach === 0) state.current++;
    return undefined;
  };
  return { state, intercept };
}

/** A registry, and a folder with an image and the command's passwords. */
async function setUp(options: Partial<StrictRegistryOptions>, passwords: readonly string[] = PASSWORDS) {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry(options));
  const at = (name: string) => join(folder.path, name);
  await Bun.write(at("output.tar"), IMAGE.archive);
  await Bun.write(at("passwords"), passwords.map((password) => `${password}\n`).join(""));
  const owned = resources.move();
  return {
    registry,
    at,
    target: `${registry.host}/team/app:v1`,
    /** Runs chunkpush in the folder. Nothing that it printed or kept gives a password away. */
    async run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
      const path = `${at("bin")}:${process.env["PATH"]}`;
      const result = await runCli(args, { cwd: folder.path, env: { PATH: path, ...env } });
      let kept = "";
      for await (const name of new Bun.Glob(".cache/**").scan({ cwd: folder.path, dot: true }))
        kept += await Bun.file(at(name)).text();
      const all = result.stdout + result.stderr + kept;
      const secrets = PASSWORDS.flatMap((each) => [each, btoa(`v0:${each}`), btoa(`me:${each}`)]);
      expect(secrets.filter((secret) => all.includes(secret))).toEqual([]);
      return result;
    },
    async asked() {
      const file = Bun.file(at("asked"));
      return (await file.exists()) ? (await file.text()).trim().split("\n").length : 0;
    },
    async expectPulled() {
      const manifest = JSON.parse((await registry.pullManifest("team/app", "v1")) ?? "{}");
      expect(await registry.pullBlob("team/app", manifest.config.digest)).toEqual(IMAGE.config);
      const layers = manifest.layers.map(async ({ digest }: { digest: string }) =>
        digestOf(new Uint8Array(gunzipSync(await registry.pullBlob("team/app", digest)))),
      );
      expect(await Promise.all(layers)).toEqual([...IMAGE.diffIds]);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe.concurrent("a push whose passwords expire after some requests", () => {
  test("asks the command for each one once, and brings every blob", async () => {
    const { state, intercept } = expiring(7);
    await using site = await setUp({ intercept });
    const { code, stderr } = await site.run(["--credential-command", COMMAND, site.target]);
    expect(stderr).toContain("as v0 (from the credential command)");
    expect(stderr).not.toContain("rying again");
    expect(code).toBe(0);
    expect(state.lastUsed).toBeGreaterThanOrEqual(4);
    expect(await site.asked()).toBe(state.lastUsed + 1);
    state.isOpen = true;
    await site.expectPulled();
  });

  test("asks the command of the environment, as another user, rather than standard input", async () => {
    const { state, intercept } = expiring(11, "me");
    await using site = await setUp({ intercept });
    const env = { CHUNKPUSH_CREDENTIAL_COMMAND: COMMAND, USERNAME_REGISTRY: "me" };
    expect((await site.run([site.target], env)).code).toBe(0);
    expect(await site.asked()).toBe(state.lastUsed + 1);
  });

  test("asks the credential helper again that docker login has named", async () => {
    const { state, intercept } = expiring(9, "me");
    await using site = await setUp({ intercept });
    await Bun.write(site.at(".docker/config.json"), '{"credsStore":"of-tests"}');
    const helper = site.at("bin/docker-credential-of-tests");
    await Bun.write(helper, `#!/bin/sh\nprintf '{"Username":"me","Secret":"%s"}' "$(${COMMAND})"\n`);
    await chmod(helper, 0o755);
    expect((await site.run([site.target])).code).toBe(0);
    expect(state.lastUsed).toBeGreaterThanOrEqual(3);
    expect(await site.asked()).toBe(state.lastUsed + 1);
  });

  test("goes through a proxy of ours, which asks the command", async () => {
    const { state, intercept } = expiring(7);
    await using site = await setUp({ intercept });
    const proxy = ["proxy", "--credential-command", COMMAND, site.registry.host, "--"];
    const { code, stderr } = await site.run([...proxy, ...cliCommand(["{}/team/app:v1"])]);
    expect(code, stderr).toBe(0);
    expect(state.lastUsed).toBeGreaterThanOrEqual(3);
    expect(await site.asked()).toBe(state.lastUsed + 1);
    state.isOpen = true;
    await site.expectPulled();
  });

  test("ends if the new password is refused as well, and asks no third time", async () => {
    const { intercept } = expiring(7);
    await using site = await setUp({ intercept }, [PASSWORDS[0] ?? "", "wrong-one", "wrong-two"]);
    const { code, stderr } = await site.run(["--credential-command", COMMAND, site.target]);
    expect(code).toBe(1);
    expect(stderr).toContain("does not accept");
    expect(stderr).not.toContain("wrong-");
    expect(await site.asked()).toBe(2);
  });

  test("asks once where the first password is wrong", async () => {
    const { intercept } = expiring(7);
    await using site = await setUp({ intercept }, ["wrong", ...PASSWORDS]);
    const { code } = await site.run(["--credential-command", COMMAND, site.target]);
    expect([code, await site.asked()]).toEqual([1, 1]);
  });

  test.each([[[]], [["--debug"]]])(
    "ends if the command fails, and shows its output only with --debug: %p",
    async (flags) => {
      const { intercept } = expiring(7);
      await using site = await setUp({ intercept });
      const command = `[ ! -e asked ] || { echo session over >&2; exit 4; }; ${COMMAND}`;
      const { code, stderr } = await site.run([...flags, "--credential-command", command, site.target]);
      expect(code).toBe(1);
      expect(stderr).toContain("The credential command gave no credentials: it ended with 4.");
      expect(stderr.includes("session over")).toBe(flags.length > 0);
      expect(stderr).not.toContain("bug in chunkpush");
    },
  );
});

test("a token server that no longer takes the password gets a new one, once", async () => {
  const credentials = { username: "v0", password: PASSWORDS[0] ?? "" };
  await using tokens = startTokenServer({ credentials });
  let served = 0;
  let current = 0;
  await using site = await setUp({
    tokens,
    onRequest: ({ status }) => {
      if (status >= 400 || ++served % 9 !== 0) return;
      tokens.revokeAll();
      credentials.password = PASSWORDS[++current] ?? "";
    },
  });
  const { code, stdout, stderr } = await site.run(["--credential-command", COMMAND, site.target]);
  expect(code, stderr).toBe(0);
  for (const token of tokens.tokens) expect(stdout + stderr).not.toContain(token);
  const refusals =
    tokens.requests.filter(({ basic: sent }) => sent !== undefined).length - tokens.tokens.length;
  expect(refusals).toBeGreaterThanOrEqual(3);
  expect(await site.asked()).toBeGreaterThanOrEqual(4);
  expect(await site.asked()).toBeLessThanOrEqual(current + 1);
  await site.expectPulled();
});

test("the library asks the login that it was given for new credentials", async () => {
  const { state, intercept } = expiring(7, "me");
  await using site = await setUp({ intercept });
  let asked = 0;
  const next = async () => ({ username: "me", password: PASSWORDS[asked++] ?? "" });
  await push({
    source: site.at("output.tar"),
    target: site.target,
    cacheDirectory: site.at(".cache"),
    login: async () => ({ credentials: await next(), renew: next }),
  });
  expect(state.lastUsed).toBeGreaterThanOrEqual(4);
  expect(asked).toBe(state.lastUsed + 1);
  state.isOpen = true;
  await site.expectPulled();
});

describeWith("mkfifo", "an interrupted push", () => {
  test("ends the credential command that it waits for", async () => {
    await using site = await setUp({});
    const cwd = site.at("");
    await runWell(["mkfifo", "pipe"], { cwd });
    const command = "exec 3>pipe; echo up >&3; sleep 600 | cat";
    const child = Bun.spawn(cliCommand(["--credential-command", command, site.target]), {
      cwd,
      env: cliEnvironment({ cwd }),
      stdio: ["ignore", "ignore", "pipe"],
    });
    // The command's processes hold the pipe, and nothing else does.
    const reader = Bun.spawn(["cat", site.at("pipe")], { stdout: "pipe" });
    for await (const _ of reader.stdout) child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(site.registry.requests).toEqual([]);
  });
});
