import { storeInHelper } from "./credential-helper.ts";
import { editLoginFile, fileBehind } from "./edit-login-file.ts";
import { helperFor, placeOf } from "./find-login.ts";
import { locateLogin } from "./locate-login.ts";
import { type LoginFile, noFile, readLoginFile } from "./login-file.ts";
import { keysOf } from "./login-hosts.ts";
import { displayPath, type LoginEnvironment, type SavingPlace, savingPlace } from "./login-places.ts";
import { canonicalKey, serverAddress } from "./server-key.ts";

type UserLogin = { readonly username: string; readonly password: string };

/** The place of a saved login, for messages. Only a credential helper encrypts it. */
export type SavedLogin = { readonly where: string; readonly isEncrypted: boolean };

/**
 * Saves a login to a registry where Docker, Podman and skopeo find it: in the helper that the file names, or else in the
 * file itself. Throws `LOGIN_INVALID`, `CREDENTIAL_HELPER_FAILED` and `FILE_FAILED`.
 */
export async function saveLogin(
  registry: string,
  login: UserLogin,
  environment: LoginEnvironment,
  signal: AbortSignal,
): Promise<SavedLogin> {
  const place = savingPlace(environment);
  const host = canonicalKey(registry);
  const { path, name, file } = await openPlace(place, environment);
  const helper = file && helperFor(file, { host, repository: "" });
  if (helper !== undefined) {
    const { variables } = environment;
    await storeInHelper(helper, serverAddress({ host }), login, {
      variables,
      namedBy: name,
      purpose: "change",
      signal,
    });
  }
  const auth = Buffer.from(`${login.username}:${login.password}`, "utf8").toString("base64");
  await editLoginFile(path, name, (entries) => {
    for (const key of [...entries.keys()]) if (canonicalKey(key) === host) entries.delete(key);
    // Docker, too, leaves an empty entry for a login that a helper has.
    entries.set(keyIn(place, host), helper === undefined ? { auth } : {});
  });
  return helper === undefined
    ? { where: name, isEncrypted: false }
    : { where: placeOf(helper, file as LoginFile), isEncrypted: true };
}

async function openPlace(place: SavingPlace, { home }: LoginEnvironment) {
  const name = displayPath(place.path, home);
  const path = await fileBehind(place.path, name);
  return { path, name, file: await readLoginFile(path, name, "change") };
}

/** A login that was removed, by its registry, or Podman's part of one. */
export type RemovedLogin = { readonly key: string; readonly where: string };

/**
 * Removes the login to a registry, or to Podman's part of one, from where `saveLogin` puts it. Undefined stands for all
 * logins that the file lists. Those before one that fails are removed, and reported. Throws as `saveLogin` does, and
 * `FILE_FAILED` where the file of `--authfile` is missing.
 */
export async function removeLogins(
  wanted: string | undefined,
  environment: LoginEnvironment,
  signal: AbortSignal,
  onRemoved: (login: RemovedLogin) => void,
): Promise<void> {
  const { path, name, file } = await openPlace(savingPlace(environment), environment);
  if (file === undefined && environment.authFile !== undefined) throw noFile(name, "Check --authfile.");
  if (file === undefined) return;
  const entries = Map.groupBy(Object.entries(file.entries), ([key]) => canonicalKey(key));
  const keys = wanted === undefined ? keysOf(file) : [canonicalKey(wanted)];
  const erased: string[] = [];
  const written: string[] = [];
  try {
    for (const key of keys) {
      const { where, erase } = (await locateLogin(file, key, environment, signal)) ?? {};
      await erase?.();
      erased.push(key);
      if (where !== undefined && erase !== undefined) onRemoved({ key, where });
      else if (where !== undefined) written.push(key);
    }
  } finally {
    if (erased.some((key) => entries.has(key))) {
      await editLoginFile(path, name, (all) => {
        for (const key of [...all.keys()]) if (erased.includes(canonicalKey(key))) all.delete(key);
      });
    }
    for (const key of written) onRemoved({ key, where: name });
  }
}

function keyIn({ isDockers }: SavingPlace, host: string): string {
  return isDockers ? serverAddress({ host }) : host;
}
