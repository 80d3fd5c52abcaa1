/** The command that prints credentials: what is taken for some, and how it ends. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { PushError } from "../../src/errors.ts";
import { askCommand, type CommandOptions } from "../../src/logins/credential-command.ts";
import { runWell } from "../support/command.ts";
import { describeWith } from "../support/needs.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

function ask(command: string, options: Partial<CommandOptions> = {}) {
  const variables = { PATH: process.env["PATH"] ?? "" };
  return askCommand(command, { username: "v0", variables, signal: new AbortController().signal, ...options });
}

/** A command that prints a text to the byte. */
const print = (text: string) => `printf %s '${text.replaceAll("'", "'\\''")}'`;

describe("a credential command", () => {
  test.each<[string, string, object]>([
    ["a password with a line end", "hush-Xq7\n", { username: "v0", password: "hush-Xq7" }],
    ["a password with a line end of Windows", "hush-Xq7\r\n", { username: "v0", password: "hush-Xq7" }],
    ["a password without a line end", "hush-Xq7", { username: "v0", password: "hush-Xq7" }],
    ["a password with colons and spaces", " a:b c: \n", { username: "v0", password: " a:b c: " }],
    ["a password beyond ASCII", "Größe-🔑\n", { username: "v0", password: "Größe-🔑" }],
    [
      "JSON as credential helpers print it",
      '{"ServerURL":"x","Username":"AWS","Secret":"hush-Xq7"}\n',
      { username: "AWS", password: "hush-Xq7" },
    ],
    [
      "JSON as wrangler prints it",
      '{\n  "account_id": "1",\n  "username": "v1",\n  "password": "hush-Xq7"\n}\n',
      { username: "v1", password: "hush-Xq7" },
    ],
    ["JSON with a password alone", '{"password":"hush-Xq7"}', { username: "v0", password: "hush-Xq7" }],
    ["JSON with an identity token", '{"Username":"<token>","Secret":"id"}', { identityToken: "id" }],
  ])("may print its credentials as %s", async (_, text, credentials) => {
    expect((await ask(print(text))) as object).toEqual(credentials);
  });

  test.each<[string, string, RegExp]>([
    ["prints nothing", "true", /printed nothing/],
    ["prints an empty line", "echo", /printed nothing/],
    ["prints two lines", print("npm warn Xq7-secret\nhush-Xq7-secret\n"), /more than a line/],
    ["prints two passwords in two lines of Windows", print("a\r\nXq7-secret\r\n"), /more than a line/],
    ["prints what is no text", "printf 'Xq7-secret\\377\\376'", /no text/],
    ["prints an escape sequence", "printf '\\033[1mXq7-secret'", /no text/],
    ["prints broken JSON", print('{"password":"Xq7-secret"'), /printed JSON/],
    ["prints another JSON", print('{"token":"Xq7-secret"}'), /printed JSON/],
    ["prints an empty password in JSON", print('{"username":"me","password":""}'), /printed JSON/],
    ["prints a user with a colon", print('{"username":"me:x","password":"Xq7-secret"}'), /printed JSON/],
    [
      "prints a password with a line in it as JSON",
      print('{"password":"Xq7-secret\\n"}'),
      /more than a line/,
    ],
    ["fails after it has printed one", "echo Xq7-secret; exit 3", /ended with 3/],
    ["is killed", "kill -9 $$", /ended with SIGKILL/],
    ["is not there", "no-such-command-Xq7-secret", /ended with 127/],
    ["is no command of the shell", "echo '(", /ended with 2/],
    [
      "is longer than the system allows",
      `true ${"Xq7-secret".repeat(300_000)}`,
      /cannot be started \(E2BIG\)/,
    ],
    ["prints without end", "yes Xq7-secret", /ended with /],
    ["prints without end behind a shell", "yes Xq7-secret | cat; true", /ended with /],
  ])("that %s gives no credentials, and is not quoted", async (_, command, reason) => {
    const error = await rejection(ask(command));
    expect(error.code).toBe("CREDENTIAL_HELPER_FAILED");
    expect(error.message).toMatch(reason);
    expect(`${error.message} ${error.hint}`).not.toContain("secret");
  });

  test("that fails keeps its standard error apart from the message, without what looks like a secret", async () => {
    const error = await rejection(ask(`echo "log in first: token=${"x".repeat(40)}" >&2; exit 1`));
    expect(error).toBeInstanceOf(PushError);
    expect((error as PushError).said).toBe("It said: log in first: token=***");
    expect(error.message).not.toContain("log in");
  });

  test("gets neither our secrets in its environment nor our standard input", async () => {
    const variables = {
      PATH: process.env["PATH"] ?? "",
      KEPT: "kept",
      REGISTRY_JWT_TOKEN: "Xq7",
      CHUNKPUSH_HEADERS: "Xq7",
    };
    const command = 'cat; echo "$KEPT/$REGISTRY_JWT_TOKEN/$CHUNKPUSH_HEADERS"';
    expect(await ask(command, { variables })).toEqual({ username: "v0", password: "kept//" });
  });

  test("that hangs is ended, and fails", async () => {
    const error = await rejection(ask("sleep 600 | cat", { timeoutMs: 50 }));
    expect([error.code, error.message]).toEqual([
      "CREDENTIAL_HELPER_FAILED",
      expect.stringContaining("has not ended after"),
    ]);
  });
});

describeWith("mkfifo", "an aborted credential command", () => {
  test("ends with everything that it has started", async () => {
    await using folder = await temporaryFolder();
    const pipe = join(folder.path, "pipe");
    await runWell(["mkfifo", pipe], { cwd: folder.path });
    const abort = new AbortController();
    const reason = new Error("enough");
    const asking = ask(`exec 3>'${pipe}'; echo up >&3; sleep 600 | cat`, { signal: abort.signal }).catch(
      (error: unknown) => error,
    );
    // All of the command's processes hold the pipe: it ends with the last of them.
    let said = "";
    for await (const bytes of Bun.spawn(["cat", pipe], { stdout: "pipe" }).stdout) {
      said += Buffer.from(bytes).toString();
      abort.abort(reason);
    }
    expect(said).toBe("up\n");
    expect(await asking).toBe(reason);
  });
});
