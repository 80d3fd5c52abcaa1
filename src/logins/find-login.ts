import { PushError } from "../errors.ts";
import type { Reference } from "../oci/reference.ts";
import type { Credentials, RenewCredentials } from "../registry/auth/credentials.ts";
import { askHelper } from "./credential-helper.ts";
import { entryCredentials, type LoginFile, readLoginFile } from "./login-file.ts";
import { displayPath, type LoginEnvironment, loginPlaces } from "./login-places.ts";
import { matchingKeys, serverAddress } from "./server-key.ts";

/** The place to log in to. An empty repository stands for the whole registry. */
type LoginTarget = Pick<Reference, "host" | "repository">;

/** Credentials that `docker login` or `podman login` saved, and where: `~/.docker/config.json`. */
type Login = {
  readonly credentials: Credentials;
  readonly from: string;
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
    if (file === undefined && path === environment.authFile) throw noFile(path);
    const login =
      file && ((await loginOfHelper(file, target, environment, signal)) ?? writtenLogin(file, target));
    if (login !== undefined) return login;
  }
  return undefined;
}

function noFile(path: string): PushError {
  return new PushError("FILE_FAILED", `There is no file "${path}" with logins.`, {
    hint: "Check --authfile, or leave it out to use the logins of docker and podman.",
  });
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
  return credentials && { credentials, from: `docker-credential-${helper}, named by ${file.name}`, renew };
}

/** Returns the helper that has a target's credentials: its own, or the default one. */
export function helperFor(file: LoginFile, target: LoginTarget): string | undefined {
  const [key] = matchingKeys(Object.keys(file.helpers), target);
  return (key !== undefined && file.helpers[key]) || file.store;
}

function writtenLogin(file: LoginFile, target: LoginTarget): Login | undefined {
  for (const key of matchingKeys(Object.keys(file.entries), target)) {
    const credentials = entryCredentials(file, key);
    if (credentials !== undefined) return { credentials, from: file.name };
  }
  return undefined;
}
