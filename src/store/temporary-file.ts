import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

/** A file that is gone when its user is done with it, or has failed. */
export type TemporaryFile = AsyncDisposable & { readonly path: string };

/** A folder may be shared by machines and containers, whose processes have the same numbers. */
const HOST = hostname().replace(/[^A-Za-z0-9]+/g, "_");

/** Reserves a name that no other push uses. The file is the caller's to write; it is removed on disposal. */
export function temporaryFile(directory: string, purpose: string): TemporaryFile {
  const path = join(directory, `${purpose}-${HOST}-${process.pid}-${crypto.randomUUID()}.tmp`);
  return {
    path,
    // What cannot be removed now (a file system became read-only) is what the next push sweeps away. An error here
    // would hide the one that made the file useless.
    [Symbol.asyncDispose]: () => rm(path, { force: true }).catch(() => undefined),
  };
}

/**
 * Gives a file new content, whole or not at all. Throws the system's error.
 *
 * @param options `mode` of the file; `flush`: it is on the disk when this returns
 */
export async function replaceFile(
  directory: string,
  name: string,
  content: string | Uint8Array,
  options: { readonly mode?: number; readonly flush?: boolean } = {},
): Promise<void> {
  await using file = temporaryFile(directory, "file");
  await writeFile(file.path, content, options);
  await rename(file.path, join(directory, name));
}

/** Removes what killed processes of this machine have left in a folder: that may be gigabytes. */
export async function sweepTemporaryFiles(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const [, host, pid] = /^[a-z]+-(\w+)-(\d+)-[0-9a-f-]{36}\.tmp$/.exec(name) ?? [];
    if (host === HOST && !isAlive(Number(pid))) await rm(join(directory, name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and is somebody else's.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
