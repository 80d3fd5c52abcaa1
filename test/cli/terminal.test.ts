import { expect, test } from "bun:test";
import { join } from "node:path";
import { atTerminal } from "../support/at-terminal.ts";
import { describeWith } from "../support/needs.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const CLI = join(import.meta.dir, "../../src/cli");
const TWO_QUESTIONS = `
import { askUsername } from "${CLI}/ask-login.ts";
import { openTerminal } from "${CLI}/terminal.ts";
const names = [];
for (const host of ["one", "two"])
  names.push(await askUsername(await openTerminal(), host, new AbortController().signal));
process.exit(names.join() === "anna,bert" ? 0 : 1);`;

const INTERRUPTED_LATER = `
import { askUsername } from "${CLI}/ask-login.ts";
import { confirm } from "${CLI}/choose.ts";
import { openTerminal } from "${CLI}/terminal.ts";
const controller = new AbortController();
await askUsername(await openTerminal(), "one", controller.signal);
await confirm("Go on?", controller.signal);
process.stderr.write("<");
controller.abort();
process.stderr.write(">");
process.exit(0);`;

describeWith("python3", "the terminal", () => {
  test("takes the answers to two questions in a row while standard input is something else", async () => {
    await using folder = await temporaryFolder();
    const command = ["sh", "-c", '"$@" </dev/null', "sh", process.execPath, "-e", TWO_QUESTIONS];
    const { code } = await atTerminal(command, {
      cwd: folder.path,
      env: process.env,
      prompt: "User name for one",
      keys: "anna\\r",
      followUps: [["User name for two", "bert\\r"]],
    });
    expect(code).toBe(0);
  }, 20_000);

  test("gets nothing from an answered question when the push is interrupted later", async () => {
    await using folder = await temporaryFolder();
    const { code, screen } = await atTerminal([process.execPath, "-e", INTERRUPTED_LATER], {
      cwd: folder.path,
      env: process.env,
      prompt: "User name for one",
      keys: "anna\\r",
      followUps: [["Go on?", "y"]],
    });
    expect({ code, screen }).toEqual({ code: 0, screen: expect.stringContaining("<>") });
  }, 20_000);
});
