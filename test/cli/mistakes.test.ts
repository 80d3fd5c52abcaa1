import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { COMMANDS } from "../../src/cli/commands.ts";
import { parsePush, parseTargetless, type Targetless } from "../../src/cli/invocation.ts";
import { orCommand } from "../../src/cli/mistakes.ts";
import { exitCodeOf, PushError } from "../../src/errors.ts";
import { PROGRAM, runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const TARGET = "registry.example.com/my/app:v1";

function refusal(...args: readonly string[]): PushError {
  try {
    parsePush(args, {}, { commands: COMMANDS });
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error(`${args.join(" ")} was accepted`);
}

describe("a mistyped command is answered with the nearest one", () => {
  test.each([
    [["cahce"], "cache"],
    [["cahce", "prune", "--older-than", "30d"], "cache"],
    [["Cache"], "cache"],
    [["chek", "registry.example.com"], "check"],
    [["hlep"], "help"],
    [["psuh", "image.tar", TARGET], "push"],
    [["prox", "registry.example.com"], "proxy"],
    [["completions", "bash"], "completion"],
  ])("instead of %j: %s", (args, command) => {
    const error = refusal(...args);
    expect([error.code, error.hint]).toEqual(["USAGE", `Did you mean "${command}"?`]);
  });

  test("also where it was taken for an image that does not exist", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const { code, stderr } = await runCli(["chek", `${registry.host}/my/app`], {
      cwd: folder.path,
      env: { PATH: dirname(process.execPath) },
    });
    expect([code, stderr]).toEqual([1, expect.stringContaining('Did you mean "check"?')]);
  });

  test("in the error for an unknown image, which keeps the engine's message", () => {
    const options = { hint: "Look.", details: ["a"], said: "the engine's words" };
    const error = new PushError("IMAGE_NOT_FOUND", "There is no image.", options);
    expect(orCommand(error, "chek", ["check"])).toMatchObject({
      ...options,
      hint: 'Look. Did you mean "check"?',
      cause: error,
    });
  });

  test("but not for a push of an image whose name is near that of a command", () => {
    expect(parsePush(["catch", TARGET], {}, { commands: COMMANDS })).toMatchObject({ source: "catch" });
  });
});

test.each([
  ["--verison", "--version"],
  ["--platfrom", "--platform"],
  ["--chunksize", "--chunk-size"],
  ["--parralel", "--parallel"],
])("the mistyped flag %s is answered with %s", (flag, nearest) => {
  const error = refusal(flag, TARGET);
  expect([error.code, error.hint]).toEqual(["USAGE", `Did you mean ${nearest}?`]);
  expect(error.message).not.toContain("\n");
});

describe("swapped arguments are answered with the command in order", () => {
  test.each(["image.tar", "./folder", "/tmp/x", "~/image", "image.tar.gz", "a%b.tar"])(
    "where %s stands last",
    (source) => {
      const error = refusal(TARGET, source);
      expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining("swapped")]);
      expect(error.hint).toEndWith(`${/^[\w%./-]+$/.test(source) ? source : `'${source}'`} ${TARGET}`);
    },
  );

  test("where a name without a registry stands in the target's place", () => {
    expect(refusal(TARGET, "my/app:v1").hint).toEndWith(`my/app:v1 ${TARGET}`);
  });

  test("but not where a target with a mistake stands behind an image of another registry", () => {
    const { code, hint } = refusal("ghcr.io/me/app:v1", "registry.example.com/app/");
    expect([code, hint]).toEqual(["REFERENCE_INVALID", 'Did you mean "registry.example.com/app"?']);
  });

  test("but not where one of them may contain a password", () => {
    const { message, hint } = refusal(TARGET, "me:s3cret@x/y");
    expect(`${message} ${hint}`).not.toContain("s3cret");
  });
});

test.each([
  [["docker", "push", TARGET], "docker push", TARGET],
  [["podman", "push", "my/app", TARGET], "podman push", `my/app ${TARGET}`],
  [["docker", "image", "push", TARGET], "docker image push", TARGET],
  [
    ["skopeo", "copy", "oci:x", "docker://r.example/x", "more"],
    "skopeo copy",
    "oci:x docker://r.example/x more",
  ],
  [["docker", "push"], "docker push", TARGET],
])("%j is answered with the advice to leave out the words of the other tool", (args, words, rest) => {
  const error = refusal(...args);
  expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining(`"${words}"`)]);
  expect(error.hint).toEndWith(` ${rest}`);
});

describe("one word that is neither target nor command is answered by what it could be", () => {
  test.each([
    ["nginx", `nginx registry.example.com/nginx`],
    ["nginx:latest", "nginx:latest registry.example.com/nginx:latest"],
    ["missing.tar", `missing.tar ${TARGET}`],
    ["localhost:5000", '"localhost:5000/my/app:v1"'],
    ["registry.example.com", '"registry.example.com/my/app:v1"'],
    ["version", "--version"],
  ])("%s", (word, remedy) => {
    const error = refusal(word);
    expect([exitCodeOf(error), error.hint]).toEqual([2, expect.stringContaining(remedy)]);
  });
});

describe("a mistake in a plan is answered with the command of a plan", () => {
  const parse = (...args: readonly string[]) =>
    parseTargetless(args, {}, { commands: COMMANDS }, ["plan"]) as Targetless;

  test.each([
    [[], `plan ${TARGET}`],
    [["nginx"], "plan nginx registry.example.com/nginx"],
    [["missing.tar"], `plan missing.tar ${TARGET}`],
    [["version"], "plan version registry.example.com/version"],
  ])("where there is no target: %j", (args, remedy) => {
    expect(parse(...args).reason.hint).toContain(` ${remedy}`);
  });

  test.each([
    [[TARGET, "my/app:v1"], `plan my/app:v1 ${TARGET}`],
    [["docker", "push", TARGET], `plan ${TARGET}`],
  ])("where words are at the wrong place: %j", async (args, remedy) => {
    await using folder = await temporaryFolder();
    const { code, stderr } = await runCli(["plan", ...args], { cwd: folder.path });
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${PROGRAM} ${remedy}\n`)]);
  });

  test("and no word after plan is taken for a command", () => {
    const { message, hint } = parse("plam").reason;
    expect(`${message} ${hint}`).not.toMatch(/command|Did you mean/);
  });
});

test("the program prints a mistake in two lines, without a control character", async () => {
  await using folder = await temporaryFolder();
  await Bun.write(join(folder.path, "old"), "");
  for (const args of [["--verison"], ["cahce"], [TARGET, "old"], ["evil\n::error::\u001b[2J"]]) {
    const { code, stdout, stderr } = await runCli(args, { cwd: folder.path });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^Error: .+\n {2}\S.*\n$/);
    expect([...stderr].filter((character) => character < " " && character !== "\n")).toEqual([]);
  }
}, 30_000);
