import { readLoginFile } from "./login-file.ts";
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
  const keys = (await Promise.all(files)).flatMap((file) =>
    file === undefined ? [] : [...Object.keys(file.entries), ...Object.keys(file.helpers)],
  );
  return [...new Set(keys.map(canonicalKey))];
}
