import * as v from "valibot";
import { fileError, PushError } from "../errors.ts";
import { checkJson, object, record } from "../oci/json-schema.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";

/** The part of a helper's program name after `docker-credential-`. It is never a path. */
const HELPER = v.pipe(v.string(), v.regex(/^[\w.-]*$/, "should be the name of a credential helper"));

// Entries are validated only when their registry is pushed to.
const LOGIN_FILE = object({
  auths: v.nullish(record(v.string(), v.unknown())),
  credHelpers: v.nullish(record(v.string(), HELPER)),
  credsStore: v.nullish(HELPER),
});

const ENTRY = v.nullable(
  object({
    auth: v.nullish(v.string()),
    identitytoken: v.nullish(v.string()),
    username: v.nullish(v.string()),
    password: v.nullish(v.string()),
  }),
);

/** The reason to read a login file. A push does not need one. */
export type Purpose = "push" | "change";

/** The end of a hint about an unusable file, or an unusable helper that it names: another way. */
export const OTHERWISE: Readonly<Record<Purpose, string>> = {
  push: "name the user with USERNAME_REGISTRY; or set SKIP_AUTH=1 to push anonymously",
  change: "name another file with --authfile",
};

/** The logins in Docker's `config.json` or Podman's `auth.json`. */
export type LoginFile = {
  /** The path as messages show it. */
  readonly name: string;
  readonly text: string;
  readonly entries: Readonly<Record<string, unknown>>;
  readonly helpers: Readonly<Record<string, string>>;
  /** The default helper, for registries without their own. */
  readonly store: string | undefined;
};

/** Reads a login file; undefined if it does not exist. Throws `LOGIN_INVALID`, naming the field, and `FILE_FAILED`. */
export async function readLoginFile(
  path: string,
  name: string,
  purpose: Purpose = "push",
): Promise<LoginFile | undefined> {
  let text: string;
  try {
    text = await Bun.file(path).text();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    // Root's Podman denies others access to this folder. It then has no logins of this user.
    if (code === "EACCES" && path.startsWith("/run/containers/")) return undefined;
    throw fileError(cause, `read the logins in ${name}`, OTHERWISE[purpose]);
  }
  const { auths, credHelpers, credsStore } = check(LOGIN_FILE, parse(text, name, purpose), [], name, purpose);
  return { name, text, entries: auths ?? {}, helpers: credHelpers ?? {}, store: credsStore || undefined };
}

/** Reads the credentials of an entry; undefined if it is empty, as Docker writes it beside a `credsStore`. */
export function entryCredentials(file: LoginFile, key: string): Credentials | undefined {
  const at = ["auths", key];
  const entry = check(ENTRY, file.entries[key], at, file.name);
  if (entry?.identitytoken) return { identityToken: entry.identitytoken };
  if (entry?.auth) return decodeAuth(entry.auth, file.name, [...at, "auth"]);
  return entry?.username && entry.password ? credentialsOf(entry.username, entry.password) : undefined;
}

/** Creates the error for a missing file that the user has named. */
export function noFile(path: string, hint: string): PushError {
  return new PushError("FILE_FAILED", `There is no file "${path}" with logins.`, { hint });
}

/** Decodes base64 of `user:password`. The password may contain colons. Old Docker versions append zero bytes. */
function decodeAuth(auth: string, name: string, at: readonly string[]): Credentials {
  const decoded = Buffer.from(auth, "base64").toString("utf8");
  const [, username, password] = /^([^:]+):(.+?)\0*$/s.exec(decoded) ?? [];
  const isBase64 = /^[A-Za-z0-9+/_-]+={0,2}$/.test(auth.trim());
  if (!isBase64 || username === undefined || password === undefined)
    throw invalid(name, at, "expected user:password in base64");
  return credentialsOf(username, password);
}

function parse(text: string, name: string, purpose: Purpose): unknown {
  // Docker, too, treats an empty file as one without logins.
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    // Omit the parser's message: it may quote a secret.
    throw invalid(name, [], "it is not valid JSON", purpose);
  }
}

function check<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
  at: readonly string[],
  name: string,
  purpose?: Purpose,
): T {
  const checked = checkJson(schema, value);
  if ("output" in checked) return checked.output;
  throw invalid(name, [...at, ...checked.path], checked.problem, purpose);
}

function invalid(name: string, at: readonly string[], problem: string, purpose: Purpose = "push") {
  const field = at.length === 0 ? "" : `"${at.join(".")}": `;
  return new PushError("LOGIN_INVALID", `Cannot read the logins in ${name}: ${field}${problem}.`, {
    hint: `Correct the file; or ${OTHERWISE[purpose]}.`,
  });
}
