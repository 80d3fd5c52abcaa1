import { expect, test } from "bun:test";
import { join } from "node:path";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { collectLicenses } from "./licenses.ts";

const ROOT = join(import.meta.dir, "../..");
const text = (of: string) => `The licence of ${of}. ${"Permission is hereby granted. ".repeat(20)}`;

/** A project whose packages depend on each other, with these files besides. */
async function licensesWith(files: Readonly<Record<string, string>>): Promise<string> {
  await using folder = await temporaryFolder();
  const packageJson = (name: string, ...needs: string[]) =>
    JSON.stringify({ name, version: "1.0.0", dependencies: Object.fromEntries(needs.map((n) => [n, "*"])) });
  const all: Record<string, string> = {
    "package.json": packageJson("own", "a"),
    LICENSE: text("own"),
    "node_modules/a/package.json": packageJson("a", "@scope/b", "c"),
    "node_modules/a/LICENSE.md": text("a"),
    "node_modules/@scope/b/package.json": packageJson("@scope/b"),
    "node_modules/@scope/b/license": text("b"),
    "node_modules/c/package.json": packageJson("c"),
    "node_modules/c/LICENSE": text("another c"),
    "node_modules/a/node_modules/c/package.json": packageJson("c"),
    "node_modules/bun-types/docs/project/license.mdx": "---\ntitle: x\n---\n\nBun itself is MIT-licensed.\n",
    ...files,
  };
  for (const [name, content] of Object.entries(all)) await Bun.write(join(folder.path, name), content);
  return await collectLicenses(folder.path);
}

const NESTED = "node_modules/a/node_modules/c";

test("LICENSES.txt has the licence of every bundled package, as Node resolves it, and Bun's statement", async () => {
  const found = await licensesWith({ [`${NESTED}/COPYING`]: text("c"), [`${NESTED}/NOTICE`]: "Notice of c" });
  for (const name of ["own", "a", "b", "c"]) expect(found).toContain(text(name).trim());
  expect(found).toContain("Notice of c");
  expect(found).toContain("Bun itself is MIT-licensed.");
  expect(found).not.toContain("another c");
});

test("LICENSES.txt takes a licence from a package's README if it has no file of its own", async () => {
  const readme = `# c\n\nWords.\n\nLicense\n-------\n\n${text("c")}\n\n[link]: https://example.com\n`;
  const found = await licensesWith({ [`${NESTED}/README.md`]: readme });
  expect(found).toContain(text("c").trim());
  expect(found).not.toContain("Words.");
});

test("A release fails if a package has only the name of its licence", async () => {
  const found = licensesWith({ [`${NESTED}/README.md`]: "# c\n\n## License\n\nMIT\n" });
  expect(await found.catch(String)).toBe("Error: c has no text of its licence.");
});

test("Every package of this project has the text of its licence", async () => {
  const found = await collectLicenses(ROOT);
  for (const name of ["@clack/core", "data-uri-to-buffer", "tar", "yallist", "Bun"])
    expect(found).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+$`, "m"));
  expect(found).toContain("JavaScriptCore");
});
