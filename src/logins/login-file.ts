import * as v from "valibot";
import { fileError, PushError } from "../errors.ts";
import { checkJson, object, record } from "../oci/json-schema.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";

/** A helper is a program of this name behind `docker-credential-`: never a path. */
const HELPER = v.pipe(v.string(), v.regex(/^[\w.-]*$/, "should be the name of a credential helper"));

// Other fields are not ours; entries of other registries are not looked at.
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

/** Docker's `config.json` or Podman's `auth.json`, as far as it is about logins. */
export type LoginFile = {
  /** As messages have it. */
  readonly name: string;
  readonly entries: Readonly<Record<string, unknown>>;
  readonly helpers: Readonly<Record<string, string>>;
  /** The helper for every registry that has none of its own. */
  readonly store: string | undefined;
};

/**
 * Reads a file with logins; undefined where there is none. Throws `LOGIN_INVALID`, naming the field, and
 * `FILE_FAILED`.
 */
export async function readLoginFile(path: string, name: string): Promise<LoginFile | undefined> {
  let text: string;
  try {
    text = await Bun.file(path).text();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    // Root's Podman keeps this folder to itself: what is in there is not this user's.
    if (code === "EACCES" && path.startsWith("/run/containers/")) return undefined;
    throw fileError(cause, `read the logins in ${name}`, "or set SKIP_AUTH=1 to push without");
  }
  const { auths, credHelpers, credsStore } = check(LOGIN_FILE, parse(text, name), name, []);
  return { name, entries: auths ?? {}, helpers: credHelpers ?? {}, store: credsStore || undefined };
}

/** The credentials in one entry; undefined in an empty one, such as Docker writes beside a `credsStore`. */
export function entryCredentials(file: LoginFile, key: string): Credentials | undefined {
  const at = ["auths", key];
  const entry = check(ENTRY, file.entries[key], file.name, at);
  if (entry?.identitytoken) return { identityToken: entry.identitytoken };
  if (entry?.auth) return decodeAuth(entry.auth, file.name, [...at, "auth"]);
  return entry?.username && entry.password ? credentialsOf(entry.username, entry.password) : undefined;
}

/** `user:password` in base64; the password may have colons. Old versions of Docker end it with zero bytes. */
function decodeAuth(auth: string, name: string, at: readonly string[]): Credentials {
  const decoded = Buffer.from(auth, "base64").toString("utf8");
  const [, username, password] = /^([^:]+):(.+?)\0*$/s.exec(decoded) ?? [];
  const isBase64 = /^[A-Za-z0-9+/_-]+={0,2}$/.test(auth.trim());
  if (!isBase64 || username === undefined || password === undefined)
    throw invalid(name, at, "should be user:password in base64");
  return credentialsOf(username, password);
}

function parse(text: string, name: string): unknown {
  // Docker, too, takes an empty file for one without logins.
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    // Without the parser's own message, which may quote what it did not understand.
    throw invalid(name, [], "it is not valid JSON");
  }
}

function check<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
  name: string,
  at: readonly string[],
): T {
  const checked = checkJson(schema, value);
  if ("output" in checked) return checked.output;
  throw invalid(name, [...at, ...checked.path], checked.problem);
}

function invalid(name: string, at: readonly string[], problem: string): PushError {
  const field = at.length === 0 ? "" : `"${at.join(".")}": `;
  return new PushError("LOGIN_INVALID", `Cannot read the logins in ${name}: ${field}${problem}.`, {
    hint: "Correct the file; or name the user with USERNAME_REGISTRY; or set SKIP_AUTH=1 to push without.",
  });
}
