import { homedir } from "node:os";
import { PushError } from "../errors.ts";
import { findLogin } from "../logins/find-login.ts";
import type { PushLogin } from "../push/options.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";
import type { PushCommand } from "./invocation.ts";
import type { Environment } from "./values.ts";

/** A password is not longer; what is, was piped in by mistake. */
const MAX_PASSWORD_BYTES = 64 * 1024;

/** Whoever pipes a password in has it ready. After this time the user is told what is waited for. */
const SILENT_WAIT_MS = 1000;

export type CredentialsOptions = {
  readonly environment: Environment;
  readonly signal: AbortSignal;
  /** Told that standard input gives nothing yet. */
  readonly onWaiting: () => void;
};

/**
 * The credentials of a push, or undefined for an anonymous one: those of the command, or else those that `docker login` or
 * `podman login` left behind.
 *
 * Throws `PASSWORD_MISSING`, `LOGIN_INVALID`, `CREDENTIAL_HELPER_FAILED` and `FILE_FAILED`.
 */
export async function readCredentials(
  command: PushCommand,
  options: CredentialsOptions,
): Promise<PushLogin | undefined> {
  if (command.skipAuth) return undefined;
  const credentials = await givenCredentials(command, options);
  if (credentials !== undefined) return { credentials };
  const places = {
    variables: options.environment,
    home: homedir(),
    platform: process.platform,
    userId: process.getuid?.(),
  };
  return findLogin(command.target, places, options.signal);
}

/**
 * The password is the environment's, else standard input's, else, at a terminal, what the user types unseen. Standard
 * input is left alone where no user was named.
 */
async function givenCredentials(
  { username, password, passwordStdin, target }: PushCommand,
  options: CredentialsOptions,
): Promise<Credentials | undefined> {
  if (username === undefined) return undefined;
  if (password !== undefined && !passwordStdin) return credentialsOf(username, password);
  return credentialsOf(
    username,
    process.stdin.isTTY
      ? await askForPassword(username, target.host, options.signal)
      : await readPassword(options),
  );
}

async function readPassword({ signal, onWaiting }: CredentialsOptions): Promise<string> {
  const waiting = setTimeout(onWaiting, SILENT_WAIT_MS);
  try {
    const text = await Promise.race([readStandardInput(), rejectOnAbort(signal)]);
    // echo ends its line; a password that ends in a line break of its own is hardly meant.
    const password = text.replace(/\r?\n$/, "");
    if (password !== "") return password;
  } finally {
    clearTimeout(waiting);
  }
  throw new PushError("PASSWORD_MISSING", "A user was named, but standard input gave no password.", {
    hint: 'Pipe it in, echo "$PASSWORD" | …, and check that the variable is set; or set REGISTRY_JWT_TOKEN; or SKIP_AUTH=1 to push without.',
  });
}

async function readStandardInput(): Promise<string> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of Bun.stdin.stream()) {
    pieces.push(piece);
    sizeBytes += piece.length;
    if (sizeBytes > MAX_PASSWORD_BYTES) {
      throw new PushError("USAGE", "Standard input is too long for a password.", {
        hint: "Pipe only the password in. An archive is named as the source: bun run index.ts image.tar TARGET",
      });
    }
  }
  return Buffer.concat(pieces).toString("utf8");
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
  );
}

async function askForPassword(username: string, host: string, signal: AbortSignal): Promise<string> {
  // Loaded for whoever is asked alone: it takes a good part of the time of a push that sends nothing.
  const { isCancel, password } = await import("@clack/prompts");
  const answer = await password({
    message: `Password of ${username} at ${host}`,
    output: process.stderr,
    // Not even the length is anybody's business.
    mask: "",
    signal,
  });
  signal.throwIfAborted();
  if (isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted: no password was given.");
  if (answer === undefined || answer === "")
    throw new PushError("PASSWORD_MISSING", "No password was given.");
  return answer;
}
