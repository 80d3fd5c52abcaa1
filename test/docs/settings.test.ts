/** docs/settings.md names every flag and variable, and no other. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { ROOT, readPage } from "./pages.ts";

/** Flags that are not ours: those of Bun, of the engines, and the two that Commander and completion bring along. */
const NOT_OURS = ["--env-file", "--no-env-file", "--help"];

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
  const flags = named(/"(?:-\w, )?(--[a-z][a-z-]*)(?=[ "])/g, await codeOf("src/cli"));
  const documented = named(/`(?:-\w`, `)?(--[a-z][a-z-]*)/g, cells.join("\n"));
  expect(documented).toEqual(flags.filter((flag) => !NOT_OURS.includes(flag)));
});

test("docs/settings.md lists every variable, and no other", async () => {
  const code = await codeOf("src");
  const variables = named(
    /(?:(?:env|environment|variables)(?:\.|\["?)|variable\("|setting\([^)]*?")([A-Z][A-Z_]+)\b/g,
    code,
  );
  const documented = named(/`([A-Z][A-Z_]{3,})/g, cells.join("\n"));
  expect(documented).toEqual(
    [...new Set([...variables.filter((name) => !NOT_SETTINGS.includes(name)), ...OF_THE_PLATFORM])].sort(),
  );
});
