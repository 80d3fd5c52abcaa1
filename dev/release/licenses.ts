/** The licences of all that an executable consists of. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

type Package = { readonly folder: string; readonly name: string; readonly version: string };

/** Less is a licence's name, and not its text. */
const MIN_TEXT_CHARACTERS = 300;

/** The text of LICENSES.txt. @param root the folder with the project's package.json */
export async function collectLicenses(root: string): Promise<string> {
  const [own, ...others] = await runtimePackages(root);
  const texts = [own as Package, ...others.sort((a, b) => a.name.localeCompare(b.name))].map(
    async (each) => `${titleOf(`${each.name} ${each.version}`)}${await licenseOf(each)}`,
  );
  return [...(await Promise.all(texts)), await licenseOfBun(root)].join("\n");
}

/** The package and all that it depends on at run time, directly or not. */
async function runtimePackages(root: string): Promise<Package[]> {
  const found = new Map<string, Package>();
  const visit = async (folder: string): Promise<void> => {
    if (found.has(folder)) return;
    const {
      name,
      version,
      dependencies = {},
    } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    found.set(folder, { folder, name, version });
    for (const dependency of Object.keys(dependencies)) await visit(folderOf(dependency, folder));
  };
  await visit(root);
  return [...found.values()];
}

/** Where a package finds one that it depends on. */
function folderOf(name: string, from: string): string {
  const folder = join(from, "node_modules", name);
  if (existsSync(folder)) return folder;
  if (dirname(from) === from) throw new Error(`${name} is not installed.`);
  return folderOf(name, dirname(from));
}

async function licenseOf({ folder, name }: Package): Promise<string> {
  const files = (await readdir(folder)).filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  if (texts.length === 0) texts.push(licenseInReadme(await readFile(join(folder, "README.md"), "utf8")));
  const text = texts.map((each) => `${each.replaceAll("\r\n", "\n").trim()}\n`).join("\n");
  if (text.length < MIN_TEXT_CHARACTERS) throw new Error(`${name} has no text of its licence.`);
  return text;
}

/** The section "License" of a README. */
function licenseInReadme(readme: string): string {
  const [, text = ""] =
    /^(?:#+ *licen[cs]e *\n|licen[cs]e *\n-+\n)([\s\S]*?)(?=^#|^\[[^\]]*\]:|(?![\s\S]))/im.exec(readme) ?? [];
  return text;
}

/** Bun's own statement, which comes with its types: about Bun, and about the libraries in it. */
async function licenseOfBun(root: string): Promise<string> {
  const file = join(root, "node_modules/bun-types/docs/project/license.mdx");
  const statement = (await readFile(file, "utf8")).replace(/^---\n[\s\S]*?\n---\n/, "").trim();
  return `${titleOf(`Bun ${Bun.version}`)}The executable is Bun ${Bun.version} (https://github.com/oven-sh/bun, tag bun-v${Bun.version}), with the
program's code added to it by \`bun build --compile\`. The sources of the program build it with a Bun of your own,
linked with another JavaScriptCore, too: \`bun build index.ts --compile --compile-executable-path=BUN\`.

What Bun says of its licence and of the libraries in it:

${statement}
`;
}

function titleOf(text: string): string {
  return `${"=".repeat(80)}\n${text}\n${"=".repeat(80)}\n\n`;
}
