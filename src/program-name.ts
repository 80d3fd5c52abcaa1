import { join } from "node:path";
import { shellWord } from "./format.ts";

/**
 * The command to name in messages and help: as the package's launcher (`argv0`), as an executable and in a library it
 * is "chunkpush". In a checkout it is the script.
 */
export const PROGRAM_NAME =
  Bun.main === join(import.meta.dir, "../index.ts") && process.argv0 !== "chunkpush"
    ? "bun run index.ts"
    : "chunkpush";

/** Writes a command of ours as a shell reads it. */
export function commandLine(...words: readonly string[]): string {
  return [PROGRAM_NAME, ...words.map(shellWord)].join(" ");
}
