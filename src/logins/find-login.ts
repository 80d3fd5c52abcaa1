import type { Reference } from "../oci/reference.ts";
import type { Credentials, RenewCredentials } from "../registry/auth/credentials.ts";
import { askHelper } from "./credential-helper.ts";
import { entryCredentials, type LoginFile, noFile, readLoginFile } from "./login-file.ts";
import { displayPath, type LoginEnvironment, loginPlaces, savingPlace } from "./login-places.ts";
import { canonicalKey, matchingKeys, serverAddress } from "./server-key.ts";

/** The place to log in to. An empty repository stands for the whole registry. */
type LoginTarget = Pick<Reference, "host" | "repository">;

/** Credentials that `docker login` or `podman login` saved, and where: `~/.docker/config.json`. */
type Login = {
  readonly credentials: Credentials;
  readonly from: string;
  /** The key that a new login replaces: the registry, or the more specific part of one that Podman allows. */
  readonly key: string;
  /** Asks the helper again that gave them. */
  readonly renew?: RenewCredentials;
};

/**
 * Finds the login that `docker login` or `podman login` saved for a target. The first file that has one decides. In a
 * file, the registry's own helper comes first, then the default helper, then the saved entries.
 *
 * Throws `LOGIN_INVALID`, `CREDENTIAL_HELPER_FAILED` and `FILE_FAILED`. It does not fall back to an anonymous push,
 * which would confuse a user who has logged in.
 */
export async function findLogin(
  target: LoginTarget,
  environment: LoginEnvironment,
  signal: AbortSignal,
): Promise<Login | undefined> {
  for (const path of loginPlaces(environment)) {
    const file = await readLoginFile(path, displayPath(path, environment.home));
    if (file === undefined && path === environment.authFile)
      throw noFile(path, "Check --authfile, or leave it out to use the logins of docker and podman.");
    const login =
      file && ((await loginOfHelper(file, target, environment, signal)) ?? writtenLogin(file, target));
    if (login === undefined) continue;
    // A new login to the registry is found first, unless the same file has one to a part.
    return path === savingPlace(environment).path ? login : { ...login, key: target.host };
  }
  return undefined;
}

async function loginOfHelper(
  file: LoginFile,
  target: LoginTarget,
  { variables }: LoginEnvironment,
  signal: AbortSignal,
): Promise<Login | undefined> {
  const helper = helperFor(file, target);
  if (helper === undefined) return undefined;
  const renew: RenewCredentials = (signal) =>
    askHelper(helper, serverAddress(target), { variables, namedBy: file.name, signal });
  const credentials = await renew(signal);
  return credentials && { credentials, from: placeOf(helper, file), key: target.host, renew };
}

/** Names a helper, and the file that names it. */
export function placeOf(helper: string, file: LoginFile): string {
  return `docker-credential-${helper}, named by ${file.name}`;
}

/** Returns the helper that has a target's credentials: its own, or the default one. */
export function helperFor(file: LoginFile, target: LoginTarget): string | undefined {
  const [key] = matchingKeys(Object.keys(file.helpers), target);
  // As in Docker, an empty name stands for no helper, not for the default one.
  return key === undefined ? file.store : file.helpers[key] || undefined;
}

function writtenLogin(file: LoginFile, target: LoginTarget): Login | undefined {
  for (const key of matchingKeys(Object.keys(file.entries), target)) {
    const credentials = entryCredentials(file, key);
    if (credentials !== undefined) {
      // Helpers and other programs spell the host in their own ways.
      const part = canonicalKey(key).split("/").slice(1);
      return { credentials, from: file.name, key: [target.host, ...part].join("/") };
    }
  }
  return undefined;
}
