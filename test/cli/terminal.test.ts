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

describeWith("python3", "The terminal", () => {
  test("takes answers to two questions in a row while standard input is a pipe", async () => {
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
});
