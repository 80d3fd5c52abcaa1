import { stat } from "node:fs/promises";

/** The default sources, looked for in the working folder. */
const DEFAULT_SOURCES = ["output.tar", ".output-image"];

/** Finds an archive or folder in the working folder. */
export async function findSource(): Promise<string | undefined> {
  for (const path of DEFAULT_SOURCES) {
    const isThere = await stat(path).then(
      () => true,
      // Opening it reports why it cannot be read.
      ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
    );
    if (isThere) return path;
  }
  return undefined;
}
