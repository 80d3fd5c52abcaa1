import { askHelper, eraseInHelper } from "./credential-helper.ts";
import { helperFor, placeOf } from "./find-login.ts";
import { type LoginFile, readLoginFile } from "./login-file.ts";
import { keysOf } from "./login-hosts.ts";
import { displayPath, type LoginEnvironment, loginPlaces } from "./login-places.ts";
import { canonicalKey, serverAddress } from "./server-key.ts";

/** The place of a file's login, for messages. */
type Place = {
  readonly where: string;
  /** Set if a credential helper has it: lets the helper erase it. */
  readonly erase?: () => Promise<void>;
};

/** Finds a file's login to exactly a registry, or to Podman's part of one. Throws `CREDENTIAL_HELPER_FAILED`. */
export async function locateLogin(
  file: LoginFile,
  key: string,
  { variables }: LoginEnvironment,
  signal: AbortSignal,
): Promise<Place | undefined> {
  // Helpers know no parts of registries.
  const helper = key.includes("/") ? undefined : helperFor(file, { host: key, repository: "" });
  const server = serverAddress({ host: key });
  const options = { variables, namedBy: file.name, purpose: "change", signal } as const;
  // Some helpers fail to erase what they do not have, and others say nothing.
  if (helper !== undefined && (await askHelper(helper, server, options)) !== undefined) {
    const erase = () => eraseInHelper(helper, server, options);
    return { where: placeOf(helper, file), erase };
  }
  const isWritten = Object.entries(file.entries).some(
    ([each, entry]) => canonicalKey(each) === key && !Bun.deepEquals(entry, {}),
  );
  return isWritten ? { where: file.name } : undefined;
}

/** A login that a logout has left, and the file that has it, or names its helper. */
export type RemainingLogin = { readonly key: string; readonly where: string; readonly path: string };

/**
 * Lists the logins to a registry, or to Podman's part of one, and to parts of that, in all files. Undefined stands for all
 * logins that the files list.
 *
 * @param onFailed called for each file with a failure, in itself or in its helper. Its other logins are left out
 */
export async function remainingLogins(
  wanted: string | undefined,
  environment: LoginEnvironment,
  signal: AbortSignal,
  onFailed: (error: unknown) => void,
): Promise<RemainingLogin[]> {
  const found: RemainingLogin[] = [];
  for (const path of loginPlaces(environment)) {
    try {
      const file = await readLoginFile(path, displayPath(path, environment.home), "change");
      if (file === undefined) continue;
      const isBelow = (key: string) => wanted === undefined || key.startsWith(`${wanted}/`);
      const listed = keysOf(file).filter(isBelow);
      for (const key of wanted === undefined ? listed : [wanted, ...listed]) {
        const place = await locateLogin(file, key, environment, signal);
        if (place !== undefined) found.push({ key, where: place.where, path });
      }
    } catch (error) {
      signal.throwIfAborted();
      onFailed(error);
    }
  }
  return found;
}
