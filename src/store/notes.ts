import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../errors.ts";
import { type CacheFolder, readOwnFile } from "./own-file.ts";
import { replaceFile } from "./temporary-file.ts";

/** A folder with notes for the next push. It must exist. */
export type NoteFolder = CacheFolder & {
  /** Called with the reason when a note cannot be written or removed. */
  readonly onFailure?: (reason: string) => void;
};

/** The largest note, one of a thousand places, is smaller. */
const MAX_NOTE_BYTES = 1024 * 1024;

/** Reads a note. Undefined if it is missing or invalid: a push works without notes. */
export async function readNote<T>(
  folder: NoteFolder,
  name: string,
  schema: v.GenericSchema<unknown, T>,
): Promise<T | undefined> {
  const bytes = readOwnFile(folder, name, MAX_NOTE_BYTES);
  if (bytes === undefined) return undefined;
  try {
    return v.parse(schema, JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}

/** Writes a note atomically. */
export async function writeNote(folder: NoteFolder, name: string, value: unknown): Promise<void> {
  await unlessFailing(folder, () =>
    replaceFile(folder.directory, name, JSON.stringify(value), { flush: true }),
  );
}

export async function removeNote(folder: NoteFolder, name: string): Promise<void> {
  await unlessFailing(folder, () => rm(join(folder.directory, name), { force: true }));
}

/** Reports the system's errors, and continues: without notes, only the next push has more to do. */
async function unlessFailing({ onFailure }: NoteFolder, change: () => Promise<void>): Promise<void> {
  try {
    await change();
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    onFailure?.(messageOf(error));
  }
}
