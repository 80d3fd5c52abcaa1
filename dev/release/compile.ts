import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import packageJson from "../../package.json";
import { sign } from "./mach-signature.ts";
import { fileOf, type Target } from "./targets.ts";

const ROOT = join(import.meta.dir, "../..");

/** Arguments of `bun` in the npm script "compile", which owns the flags, without the output's name. */
export function compileArguments(): string[] {
  const [, , ...args] = packageJson.scripts.compile.split(" ");
  return args.filter((arg) => !arg.startsWith("--outfile="));
}

/** Compiles the program for a target. The same sources and the same Bun make the same bytes. @returns the file */
export async function compile(target: Target, runtime: string, folder: string): Promise<string> {
  const file = join(folder, fileOf(target));
  const child = Bun.spawn(
    [
      ...[process.execPath, ...compileArguments(), `--target=bun-${target.platform}`],
      ...[`--compile-executable-path=${runtime}`, `--outfile=${file}`],
    ],
    { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] },
  );
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(`Cannot compile ${file}:\n${stderr}${stdout}`);
  if (target.platform === "darwin-x64") await writeFile(file, sign(await readFile(file)));
  return file;
}
