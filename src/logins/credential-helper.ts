import * as v from "valibot";
import { PushError } from "../errors.ts";
import { object } from "../oci/json-schema.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { OTHERWISE, type Purpose } from "./login-file.ts";

/** The error of all helpers for an unknown server. */
const NOT_FOUND = "credentials not found in native keychain";

/** Credentials are short. A helper that writes more is ended. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;

const MAX_SAID_CHARACTERS = 300;

const ANSWER = object({ Username: v.string(), Secret: v.string() });

export type HelperOptions = {
  /** The helper's environment variables, and the `PATH` to search for it. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The file that names the helper, for messages. */
  readonly namedBy: string;
  /** @default "push" */
  readonly purpose?: Purpose;
  readonly signal: AbortSignal;
};

/** The commands of a helper, and the words for them in messages. */
const ACTIONS = {
  get: "get credentials for",
  store: "save the login to",
  erase: "remove the login to",
} as const;

/**
 * Gets a server's credentials from `docker-credential-<name>`; undefined if it has none. There is no timeout, since a
 * helper may prompt the user. Throws `CREDENTIAL_HELPER_FAILED`; the message omits output that may contain a secret.
 *
 * https://github.com/docker/docker-credential-helpers#development
 */
export async function askHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<Credentials | undefined> {
  const stdout = await runHelper(name, "get", server, server, options);
  if (stdout === undefined) return undefined;
  const answer = parseAnswer(stdout);
  if (answer === undefined) {
    const program = `docker-credential-${name}`;
    throw failure("get", server, options, `${program} returned invalid credentials.`, "Log in again");
  }
  const { Username: username, Secret: secret } = answer;
  return secret === "" ? undefined : credentialsOf(username, secret);
}

/** Saves credentials in `docker-credential-<name>`. Throws as `askHelper` does. */
export async function storeInHelper(
  name: string,
  server: string,
  { username, password }: { readonly username: string; readonly password: string },
  options: HelperOptions,
): Promise<void> {
  const login = JSON.stringify({ ServerURL: server, Username: username, Secret: password });
  await runHelper(name, "store", login, server, options);
}

/** Removes a server's credentials from `docker-credential-<name>`. Throws as `askHelper` does. */
export async function eraseInHelper(name: string, server: string, options: HelperOptions): Promise<void> {
  await runHelper(name, "erase", server, server, options);
}

/** Runs a helper, and returns its standard output; undefined if it has no credentials of the server. */
async function runHelper(
  name: string,
  action: keyof typeof ACTIONS,
  input: string,
  server: string,
  options: HelperOptions,
): Promise<string | undefined> {
  const { variables, namedBy, signal } = options;
  const program = `docker-credential-${name}`;
  const file = Bun.which(program, { PATH: variables["PATH"] ?? "" });
  if (file === null) {
    const problem = `${namedBy} names the helper ${program}, which is not on PATH.`;
    throw failure(action, server, options, problem, "Install it");
  }
  // The registry's alone.
  const { REGISTRY_JWT_TOKEN: _, CHUNKPUSH_HEADERS: __, ...env } = variables;
  const start = () =>
    Bun.spawn([file, action], {
      // Bun's default has what `.env` files say, and what was removed since.
      env,
      stdin: new Blob([input]),
      stdout: "pipe",
      stderr: "pipe",
      maxBuffer: MAX_OUTPUT_BYTES,
      signal,
    });
  let child: ReturnType<typeof start>;
  try {
    child = start();
  } catch (error) {
    // Such as a script whose shell is missing.
    const { code } = error as NodeJS.ErrnoException;
    const problem = `${program} cannot be started (${code}).`;
    throw failure(action, server, options, problem, `Try "${program} ${action}" by hand`);
  }
  const outputs = Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  // What the helper has started may keep its output open.
  const [stdout, stderr, code] = await unlessAborted(outputs, signal);
  if (code === 0) return stdout;
  // Helpers write their errors to standard output.
  const words = stdout.trim() || stderr.trim();
  if (words.split("\n")[0] === NOT_FOUND && action !== "store") return undefined;
  const ended = `${program} exited with ${child.signalCode ?? `code ${code}`}.`;
  const trial = `Try "${program} ${action}" by hand`;
  // It may repeat the password that it was given.
  if (action === "store") throw failure(action, server, options, ended, trial);
  const said = words && `${program} said: ${withoutSecrets(words)}`;
  throw failure(action, server, options, ended, `${trial}, or add --debug`, said);
}

function failure(
  action: keyof typeof ACTIONS,
  server: string,
  { namedBy, purpose = "push" }: HelperOptions,
  problem: string,
  remedy: string,
  said = "",
): PushError {
  return new PushError("CREDENTIAL_HELPER_FAILED", `Cannot ${ACTIONS[action]} ${server}: ${problem}`, {
    ...(said !== "" && { said }),
    hint: `${remedy}, take it out of ${namedBy}, or ${OTHERWISE[purpose]}.`,
  });
}

function parseAnswer(text: string): v.InferOutput<typeof ANSWER> | undefined {
  try {
    return v.parse(ANSWER, JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Shortens text, and masks what looks like a secret in it: the values of an answer, and long runs without spaces. */
export function withoutSecrets(text: string): string {
  return text
    .replace(/("?(?:secret|token|password)"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|\S+)/gi, "$1***")
    .replace(/[\w+/=.~-]{20,}/g, "***")
    .slice(0, MAX_SAID_CHARACTERS);
}
