/**
 * The package managers that test/installers runs, with the Nodes that they run on and a registry. They are large, and
 * no packages of this project: `npm run installers` puts them into a folder outside of the tree, once for each lock.
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runWell } from "../support/command.ts";

const files = ["package.json", "package-lock.json"].map((name) => ({
  name,
  path: join(import.meta.dir, name),
}));
const hash = new Bun.CryptoHasher("sha256");
for (const { path } of files) hash.update(await readFile(path));

const parent = process.env["CHUNKPUSH_INSTALLERS"] ?? join(tmpdir(), "chunkpush-installers");
const folder = join(parent, hash.digest("hex").slice(0, 16));

export function tool(path: string): string {
  return join(folder, "node_modules", path);
}

/** Why they cannot be used, or nothing. */
export function whyNoTools(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "Linux on x64";
  if (!existsSync(folder)) return "npm run installers";
  return undefined;
}

if (import.meta.main && whyNoTools() === "npm run installers") {
  console.log(`Installing package managers in ${folder} …`);
  await mkdir(parent, { recursive: true });
  const temporary = await mkdtemp(join(parent, "new-"));
  try {
    for (const { name, path } of files) await copyFile(path, join(temporary, name));
    const command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    await runWell(command, {
      cwd: temporary,
      env: { ...process.env, NODE_ENV: "" } as Record<string, string>,
    });
    // Another one may have been faster.
    if (!existsSync(folder)) await rename(temporary, folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
