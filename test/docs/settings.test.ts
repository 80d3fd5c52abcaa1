/** docs/settings.md names every flag and variable, and no other. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { COMMANDS } from "../../src/cli/commands.ts";
import { ROOT, readPage } from "./pages.ts";

/** Variables that tell who called us, and nothing that a user sets for us. */
const NOT_SETTINGS = ["PATH", "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "XDG_RUNTIME_DIR"];

/** Read by Bun, or by every program. */
const OF_THE_PLATFORM = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS"];

const page = await readPage("docs/settings.md");
const cells = [...page.matchAll(/^\|(.+)\|$/gm)].flatMap(([, row = ""]) => row.split(" | ").slice(0, -1));

async function codeOf(folder: string): Promise<string> {
  const paths = [...new Bun.Glob(`${folder}/**/*.ts`).scanSync(ROOT)];
  return (await Promise.all(paths.map((path) => Bun.file(join(ROOT, path)).text()))).join("\n");
}

function named(pattern: RegExp, text: string): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, name = ""]) => name))].sort();
}

test("docs/settings.md lists every flag of every command, and no other", async () => {
  const programs = await Promise.all(COMMANDS.map(async ({ load }) => (await load()).program()));
  const flags = programs.flatMap(({ options }) => options.map((option) => option.flags)).join(" ");
  expect(named(/`(--?[a-zA-Z][a-z-]*)/g, cells.join("\n"))).toEqual(
    named(/(?:^| )(--?[a-zA-Z][a-z-]*)/g, flags),
  );
});

test("docs/settings.md lists every variable, and no other", async () => {
  const code = await codeOf("src");
  const variables = named(
    /(?:(?:env|environment|variables)(?:\.|\["?)|variable\("|setting\([^)]*?")([A-Z][A-Z_]+)\b/g,
    code,
  );
  const documented = named(/`([A-Z][A-Z_]+)/g, cells.join("\n"));
  expect(documented).toEqual(
    [...new Set([...variables.filter((name) => !NOT_SETTINGS.includes(name)), ...OF_THE_PLATFORM])].sort(),
  );
});
