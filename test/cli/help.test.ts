import { describe, expect, test } from "bun:test";
import packageJson from "../../package.json" with { type: "json" };
import { COMMANDS } from "../../src/cli/commands.ts";
import { parsePush } from "../../src/cli/invocation.ts";
import { parseArguments } from "../../src/cli/parse-arguments.ts";
import { PLAN } from "../../src/cli/plan-command.ts";
import { pushProgram } from "../../src/cli/push-program.ts";
import { PROGRAM, runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { environmentNames } from "./environment-names.ts";

const LONG = parseArguments(pushProgram(), ["--help"]) ?? "";

async function print(...args: readonly string[]): Promise<string> {
  await using folder = await temporaryFolder();
  const { code, stdout, stderr } = await runCli(args, { cwd: folder.path });
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
}

describe("The short help", () => {
  test("fits on 40 lines of 80 columns, and names every command", async () => {
    const text = await print("--help");
    const lines = text.trimEnd().split("\n");
    expect(lines.length).toBeLessThanOrEqual(40);
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(80);
    for (const { name } of COMMANDS) expect(text).toMatch(new RegExp(`^  ${name} +\\S`, "m"));
    expect(text.indexOf("Examples:")).toBeLessThan(text.indexOf("Flags:"));
  }, 20_000);

  test("is printed for -h, for help alone, and for the flag at any place of a push, valid or not", async () => {
    const text = await print("--help");
    for (const args of [["-h"], ["help"], ["image.tar", "-h"], ["--retries", "nonsense", "--help"]])
      expect(await print(...args)).toBe(text);
  }, 30_000);

  test("shows how a target is written at workers.dev, at a custom domain and on this machine", async () => {
    const text = await print("--help");
    for (const target of ["registry.me.workers.dev/my/app:v1", "registry.example.com/my/app:v1"])
      expect(text).toContain(target);
    expect(text).toContain("localhost:8787/my/app:v1");
  }, 20_000);

  test("has examples that are valid", async () => {
    const examples = [...(await print("--help")).matchAll(/^ {2}(\S.*)$/gm)].flatMap(([, line = ""]) =>
      line.startsWith(`${PROGRAM} `) ? [line.slice(PROGRAM.length + 1).split(" ")] : [],
    );
    expect(examples.length).toBeGreaterThanOrEqual(3);
    for (const args of examples) expect(parsePush(args, {})).toBeObject();
  }, 20_000);
});

describe("The long help of a push", () => {
  test("is printed for help all, --help all, help push and push --help", async () => {
    for (const args of [
      ["help", "all"],
      ["--help", "all"],
      ["help", "push"],
      ["push", "-h"],
    ])
      expect((await print(...args)).split("\n")[2]).toBe(LONG.split("\n")[2]);
  }, 30_000);

  test("has every flag below a heading, and the headings in this order", () => {
    const headings = ["Source:", "Target:", "Authentication:", "Network:", "Chunks:", "Layers:", "Output:"];
    expect([...LONG.matchAll(/^[A-Z][a-z]+:$/gm)].map(([heading]) => heading)).toEqual([
      "Arguments:",
      ...headings,
      "Options:",
      "Examples:",
    ]);
    const { options } = pushProgram();
    expect(options.length).toBeGreaterThan(20);
    for (const { long, hidden, helpGroupHeading } of options) {
      if (hidden || long === "--version") continue;
      expect(LONG).toContain(long ?? "?");
      expect([...headings, long]).toContain(helpGroupHeading);
    }
  });

  test("has every variable that the program reads", async () => {
    const names = await environmentNames();
    expect(names.length).toBeGreaterThanOrEqual(8);
    for (const name of names) expect(LONG).toContain(name);
  });
});

describe("The help of a plan", () => {
  test("has neither flags that do nothing in a plan nor examples of a push", async () => {
    const text = await print("help", "plan");
    expect(text).not.toMatch(/--(?:digestfile|dry-run)/);
    const examples = text.split("\n").filter((line) => line.startsWith(`  ${PROGRAM} `));
    expect(examples.length).toBeGreaterThanOrEqual(3);
    for (const line of examples) expect(line).toStartWith(`  ${PROGRAM} plan `);
  });

  test("leaves out flags that a plan accepts, so that plan can stand in front of any push", () => {
    const args = ["--dry-run", "--digestfile", "digest.txt", "registry.example.com/my/app:v1"];
    for (const flags of [args, []]) expect(PLAN.program().parse(flags, { from: "user" })).toBeObject();
  });
});

test("No help has a line of more than 80 columns", async () => {
  for (const { load } of COMMANDS) {
    const text = parseArguments((await load()).program(), ["--help"]) ?? "";
    for (const line of text.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
  }
});

test.each([["--version"], ["-V"]])(
  "%s prints the version as the second word, then Bun's and the system",
  async (flag) => {
    const text = await print(flag);
    expect(text).toBe(
      `chunkpush ${packageJson.version} (Bun ${Bun.version}, ${process.platform}-${process.arch})\n`,
    );
  },
);
