import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "./temporary-file.ts";

/**
 * What an earlier push has noted. Undefined where there is nothing, or nothing that can be read: a push does without any
 * note, and so nothing in one is trusted either.
 */
export async function readJsonFile(directory: string, name: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(join(directory, name), "utf8"));
  } catch {
    return undefined;
  }
}

/** Notes something for the next push, whole or not at all. The file is the user's alone. Throws the system's error. */
export async function writeJsonFile(directory: string, name: string, value: unknown): Promise<void> {
  await replaceFile(directory, name, JSON.stringify(value), { mode: 0o600, flush: true });
}
