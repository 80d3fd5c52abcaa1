import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";

/** A file that is gone when its user is done with it, or has failed. */
export type TemporaryFile = AsyncDisposable & { readonly path: string };

/** Reserves a name that no other push uses. The file is the caller's to write; it is removed on disposal. */
export function temporaryFile(directory: string, purpose: string): TemporaryFile {
  const path = join(directory, `${purpose}-${randomUUID()}.tmp`);
  return { path, [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}
