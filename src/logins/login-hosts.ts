import { type LoginFile, readLoginFile } from "./login-file.ts";
import { displayPath, type LoginEnvironment, loginPlaces } from "./login-places.ts";
import { canonicalKey } from "./server-key.ts";

/**
 * Lists the registries, and Podman's parts of registries, that somebody has logged in to, as the login files name them.
 * Files that cannot be read count as empty. No credential helper is asked.
 */
export async function loginHosts(environment: LoginEnvironment): Promise<string[]> {
  const files = loginPlaces(environment).map((path) =>
    readLoginFile(path, displayPath(path, environment.home)).catch(() => undefined),
  );
  return [...new Set((await Promise.all(files)).flatMap((file) => (file === undefined ? [] : keysOf(file))))];
}

/** Lists the registries, and Podman's parts of registries, that a login file names. */
export function keysOf({ entries, helpers }: LoginFile): string[] {
  return [...new Set([...Object.keys(entries), ...Object.keys(helpers)].map(canonicalKey))];
}
