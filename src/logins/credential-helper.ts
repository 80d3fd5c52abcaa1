import * as v from "valibot";
import { PushError } from "../errors.ts";
import { object } from "../oci/json-schema.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";

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
  readonly signal: AbortSignal;
};

/**
 * Gets a server's credentials from `docker-credential-<name>`; undefined if it has none. There is no timeout, since a
 * helper may prompt the user. Throws `CREDENTIAL_HELPER_FAILED`; the message omits output that may contain a secret.
 *
 * https://github.com/docker/docker-credential-helpers#development
 */
export async function askHelper(
  name: string,
  server: string,
  { variables, namedBy, signal }: HelperOptions,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const failure = (problem: string, remedy: string, said = "") =>
    new PushError("CREDENTIAL_HELPER_FAILED", `Cannot get credentials for ${server}: ${problem}`, {
      ...(said !== "" && { said: `${program} said: ${said}` }),
      hint: `${remedy}, take it out of ${namedBy}, or name the user with USERNAME_REGISTRY; or set SKIP_AUTH=1 to push without.`,
    });

  const file = Bun.which(program, { PATH: variables["PATH"] ?? "" });
  if (file === null) {
    throw failure(`${namedBy} names the helper ${program}, which is not on PATH.`, "Install it");
  }
  // The registry's alone.
  const { CHUNKPUSH_HEADERS: _, ...env } = variables;
  const start = () =>
    Bun.spawn([file, "get"], {
      // Bun's default has what `.env` files say, and what was removed since.
      env,
      stdin: new Blob([server]),
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
    throw failure(`${program} cannot be started (${code}).`, `Try "${program} get" by hand`);
  }
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  signal.throwIfAborted();
  if (code !== 0) {
    // Helpers write their errors to standard output.
    const words = stdout.trim() || stderr.trim();
    if (words.split("\n")[0] === NOT_FOUND) return undefined;
    const ended = `${program} ended with ${child.signalCode ?? code}.`;
    throw failure(ended, `Try "${program} get" by hand, or add --debug`, withoutSecrets(words));
  }
  const answer = parseAnswer(stdout);
  if (answer === undefined) throw failure(`${program} answered what are no credentials.`, "Log in again");
  const { Username: username, Secret: secret } = answer;
  return secret === "" ? undefined : credentialsOf(username, secret);
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
