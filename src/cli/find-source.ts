import { stat } from "node:fs/promises";

/** The default sources in the current folder. */
const DEFAULT_SOURCES = ["output.tar", ".output-image"];

/** Finds a default source in the current folder. */
export async function findSource(): Promise<string | undefined> {
  for (const path of DEFAULT_SOURCES) {
    const isThere = await stat(path).then(
      () => true,
      // An unreadable one counts as found: opening it reports the reason.
      ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
    );
    if (isThere) return path;
  }
  return undefined;
}
