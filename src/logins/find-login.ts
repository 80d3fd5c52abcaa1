import type { Reference } from "../oci/reference.ts";
import { askHelper } from "./credential-helper.ts";
import type { Login } from "./login.ts";
import { entryCredentials, type LoginFile, readLoginFile } from "./login-file.ts";
import { displayPath, type LoginEnvironment, loginPlaces } from "./login-places.ts";
import { matchingKeys, serverAddress } from "./server-key.ts";

/**
 * Looks for what `docker login` or `podman login` left for a target: the first file that knows it decides. In a file,
 * the registry's own helper comes first, then the helper for all registries, then what is written there.
 *
 * Throws `LOGIN_INVALID`, `CREDENTIAL_HELPER_FAILED` and `FILE_FAILED`: who has logged in would wonder about a push
 * that goes on without.
 */
export async function findLogin(
  target: Reference,
  environment: LoginEnvironment,
  signal: AbortSignal,
): Promise<Login | undefined> {
  for (const path of loginPlaces(environment)) {
    const file = await readLoginFile(path, displayPath(path, environment.home));
    const login =
      file && ((await loginOfHelper(file, target, environment, signal)) ?? writtenLogin(file, target));
    if (login !== undefined) return login;
  }
  return undefined;
}

async function loginOfHelper(
  file: LoginFile,
  target: Reference,
  { variables }: LoginEnvironment,
  signal: AbortSignal,
): Promise<Login | undefined> {
  const [key] = matchingKeys(Object.keys(file.helpers), target);
  const helper = (key !== undefined && file.helpers[key]) || file.store;
  if (helper === undefined) return undefined;
  const options = { path: variables["PATH"] ?? "", namedBy: file.name, signal };
  const credentials = await askHelper(helper, serverAddress(target), options);
  return credentials && { credentials, from: `docker-credential-${helper}, named by ${file.name}` };
}

function writtenLogin(file: LoginFile, target: Reference): Login | undefined {
  for (const key of matchingKeys(Object.keys(file.entries), target)) {
    const credentials = entryCredentials(file, key);
    if (credentials !== undefined) return { credentials, from: file.name };
  }
  return undefined;
}
