import { describe, expect, test } from "bun:test";
import { COMMANDS } from "../../src/cli/commands.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

/** Runs the program in an empty folder. */
async function run(...args: readonly string[]) {
  await using folder = await temporaryFolder();
  const { code, stdout, stderr } = await runCli(args, { cwd: folder.path });
  return { code, stdout, stderr };
}

describe("The first argument", () => {
  test("names a command, whose help is the same with help in front and with --help behind", async () => {
    for (const { name } of COMMANDS) {
      const [flag, word] = await Promise.all([run(name, "--help"), run("help", name)]);
      expect([flag.code, flag.stderr]).toEqual([0, ""]);
      expect(flag.stdout).toContain("Usage: ");
      expect(word).toEqual(flag);
    }
  }, 60_000);

  test("may be left out for a push", async () => {
    await using registry = await startTestRegistry();
    const target = `${registry.host}/my/app:v1`;
    const [short, long] = await Promise.all([run("./none.tar", target), run("push", "./none.tar", target)]);
    expect([short.code, short.stderr]).toEqual([1, expect.stringContaining("none.tar")]);
    expect(long).toEqual(short);
  }, 20_000);

  test("is a command if it is a command's exact name, even where an image is possible", async () => {
    for (const name of ["cache", "proxy", "completion", "help"]) {
      const { code, stdout } = await run(name, "registry.example.com/my/app:v1");
      expect([name, code, stdout]).toEqual([name, 2, ""]);
    }
  }, 60_000);

  test("is a file or an image with a command's name if ./, docker-daemon: or the word push is in front", async () => {
    for (const args of [["./cache"], ["docker-daemon:cache"], ["push", "cache"]]) {
      const { code, stderr } = await run(...args, "localhost:1/my/app:v1");
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^Error: .*\b(?:cache|localhost:1)\b/m)]);
    }
  }, 20_000);
});

test("help refuses an unknown command, and lists the commands", async () => {
  const { code, stderr } = await run("help", "nonsense");
  expect([code, stderr]).toEqual([2, expect.stringContaining("nonsense")]);
  for (const { name } of COMMANDS) expect(stderr).toContain(name);
}, 20_000);

test.each([
  ["cache prune", "cache"],
  ["plan check", "plan"],
])("help of two words, %s, is refused with the help of the first", async (words, first) => {
  const { code, stdout, stderr } = await run("help", ...words.split(" "));
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toEndWith(` help ${first}\n`);
});

test("help suggests a command only for a word that is nearly one", async () => {
  const [near, far] = await Promise.all([run("help", "cahce"), run("help", "a")]);
  expect(near.stderr).toContain('Did you mean "cache"?');
  expect(far.stderr).not.toContain("Did you mean");
});
