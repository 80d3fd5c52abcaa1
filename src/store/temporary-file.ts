import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { CACHE_IN_USE, type Lock, tryLock } from "./locks.ts";
import { PRIVATE_FILE } from "./own-file.ts";

/** A file that is removed on disposal. */
export type TemporaryFile = AsyncDisposable & { readonly path: string };

/** Process IDs are unique only on one machine, and machines or containers may share a folder. */
const HOST = hostname().replace(/[^A-Za-z0-9]+/g, "_");

/** Chooses a unique name. The caller creates the file; disposal removes it. */
export function temporaryFile(directory: string, purpose: string): TemporaryFile {
  const path = join(directory, `${purpose}-${HOST}-${process.pid}-${crypto.randomUUID()}.tmp`);
  return {
    path,
    // Removal may fail, on a read-only file system for example. An error here would hide the original one, and the next
    // push sweeps the file.
    [Symbol.asyncDispose]: () => rm(path, { force: true }).catch(() => undefined),
  };
}

/**
 * Replaces a file atomically. Throws the system's error.
 *
 * @param options `flush` syncs the file to the disk before the rename
 */
export async function replaceFile(
  directory: string,
  name: string,
  content: string | Uint8Array,
  options: { readonly flush?: boolean } = {},
): Promise<void> {
  await using file = temporaryFile(directory, "file");
  await writeFile(file.path, content, { ...options, mode: PRIVATE_FILE, flag: "wx" });
  await rename(file.path, join(directory, name));
}

/**
 * Waits for a rename in a writable folder. Undefined if the new name cannot be replaced: it is a folder, or another user's
 * file in a folder with the sticky bit.
 */
export async function unlessNameTaken<T>(renamed: Promise<T>): Promise<T | undefined> {
  return renamed.catch((error: NodeJS.ErrnoException) => {
    if (["EISDIR", "EPERM", "EACCES"].includes(error.code ?? "")) return undefined;
    throw error;
  });
}

/**
 * Removes temporary files of killed processes of this machine, unless a push uses the cache: a process in another
 * container with this host name looks dead from here.
 */
export async function sweepTemporaryFiles(directory: string): Promise<void> {
  const left = (await readdir(directory)).filter((name) => {
    const [, host, pid] = /^[a-z]+-(\w+)-(\d+)-[0-9a-f-]{36}\.tmp$/.exec(name) ?? [];
    return host === HOST && !isAlive(Number(pid));
  });
  if (left.length === 0) return;
  using alone = lockWhole(directory);
  if (alone === undefined) return;
  for (const name of left) {
    // A file that stays, or a folder of that name, does no harm.
    await rm(join(directory, name), { force: true }).catch(() => undefined);
  }
}

/** Locks the whole cache. Undefined if others use it, or if locking is unavailable. */
function lockWhole(directory: string): Lock | undefined {
  try {
    return tryLock(directory, CACHE_IN_USE, "exclusive");
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: the process exists, but belongs to another user.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
