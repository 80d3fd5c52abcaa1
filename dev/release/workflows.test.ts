/** What runs on GitHub, held to rules that a glance may miss. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../test/support/command.ts";

setDefaultTimeout(120_000);

const ROOT = join(import.meta.dir, "../..");
const WORKFLOWS = [...new Bun.Glob(".github/workflows/*").scanSync({ cwd: ROOT, dot: true })].sort();
const ACTIONS = [...new Bun.Glob("action.yml").scanSync(ROOT)];
const ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12";

for (const name of [...WORKFLOWS, ...ACTIONS]) {
  const text = readFileSync(join(ROOT, name), "utf8").replaceAll("\r\n", "\n");

  describe(name, () => {
    test("pins every action to a commit, with the version in a comment", () => {
      const uses = [...text.matchAll(/^\s*(?:- )?uses:\s*(.+)$/gm)].map(([, action = ""]) => action);
      expect(uses.length).toBeGreaterThan(0);
      const loose = uses.filter(
        (action) => !/^(?:\.\/.+|[\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$/.test(action),
      );
      expect(loose).toEqual([]);
    });

    test.skipIf(ACTIONS.includes(name))(
      "gives no rights to jobs that do not ask for them, but to read the repository",
      () => {
        expect(text).toMatch(/^permissions:(?: \{\}|\n {2}contents: read)\n\n/m);
      },
    );

    test("puts no text from outside into a shell command", () => {
      // What starts with a dash or a key and holds an expression is not a line of a script.
      const lines = text.split("\n").filter((line) => /\$\{\{/.test(line));
      const inShell = lines.filter(
        (line) => !/^\s*(?:- )?[\w-]+: /.test(line) || /^\s*(?:- )?run:/.test(line),
      );
      expect(inShell).toEqual([]);
    });
  });
}

const reason = await whyNotActionlint();
test.skipIf(reason !== undefined)(`actionlint finds no mistake${reason ? ` (${reason})` : ""}`, async () => {
  const { HOME = "/" } = process.env;
  const { code, stdout, stderr } = await run(["go", "run", ACTIONLINT, ...WORKFLOWS], {
    cwd: ROOT,
    env: { HOME },
  });
  expect(stdout + stderr).toBe("");
  expect(code).toBe(0);
});

/** It needs a Go of 2025. Debian 12 has an older one, which cannot get another. */
async function whyNotActionlint(): Promise<string | undefined> {
  if (Bun.which("go") === null) return "needs go";
  const { stdout } = await run(["go", "version"]);
  const [, minor = "0"] = /go1\.(\d+)/.exec(stdout) ?? [];
  return Number(minor) < 21 ? `needs go 1.21 or newer, and this is ${stdout.trim()}` : undefined;
}
