import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of its own for a test, gone with everything in it when the test is done. */
export type TemporaryFolder = AsyncDisposable & { readonly path: string };

/** @param parent the folder to make it in */
export async function temporaryFolder(parent = tmpdir()): Promise<TemporaryFolder> {
  // Short, because sockets in it may have a path of 107 bytes at most.
  const path = await mkdtemp(join(parent, "cp-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
