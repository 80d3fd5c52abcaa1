import { homedir } from "node:os";
import { PushError } from "../errors.ts";
import { askCommand } from "../logins/credential-command.ts";
import { findLogin } from "../logins/find-login.ts";
import type { Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushLogin } from "../push/options.ts";
import { type Credentials, credentialsOf, usernameOf } from "../registry/auth/credentials.ts";
import type { RegistryCommand } from "./registry-flags.ts";
import type { Environment } from "./values.ts";

/** Longer input is not a password, and was piped in by mistake. */
const MAX_PASSWORD_BYTES = 64 * 1024;

/** A piped password arrives at once. After this time the user is told what the push waits for. */
const SILENT_WAIT_MS = 1000;

type LoginCommand = Pick<RegistryCommand, "username" | "password" | "passwordStdin" | "skipAuth"> & {
  readonly credentialCommand?: string | undefined;
  /** If it is "-", standard input has the image. */
  readonly source?: string | undefined;
};

/** The place to log in to. An empty repository stands for the whole registry. */
type LoginTarget = Pick<Reference, "host" | "repository">;

export type CredentialsOptions = {
  readonly environment: Environment;
  readonly signal: AbortSignal;
  /** Told that standard input gives nothing yet. */
  readonly onWaiting: () => void;
};

/**
 * Returns a function that reads the credentials for a target; undefined for an anonymous push. Those of the command are for
 * the host alone, and read once. Everything else gets what `docker login` or `podman login` left behind.
 *
 * The function throws `PASSWORD_MISSING`, `LOGIN_INVALID`, `CREDENTIAL_HELPER_FAILED` and `FILE_FAILED`.
 */
export function credentialsReader(
  command: LoginCommand,
  host: string,
  options: CredentialsOptions,
): (target: LoginTarget) => Promise<PushLogin | undefined> {
  let given: Promise<PushLogin | undefined> | undefined;
  const places = {
    variables: options.environment,
    home: homedir(),
    platform: process.platform,
    userId: process.getuid?.(),
  };
  return async (target) => {
    if (command.skipAuth) return undefined;
    if (target.host === host) {
      // Standard input has the image: before a person is asked, a saved login of that user will do.
      const isSaved = command.source === "-" && needsPassword(command);
      const saved = isSaved ? await findLogin(target, places, options.signal) : undefined;
      if (saved && usernameOf(saved.credentials) === command.username) return saved;
      given ??= givenLogin(command, host, options);
      const login = await given;
      if (login !== undefined) return login;
    }
    return findLogin(target, places, options.signal);
  };
}

/** Tells whether a user was named, and nothing gives the password. */
function needsPassword({ username, password, credentialCommand }: LoginCommand): boolean {
  return username !== undefined && password === undefined && credentialCommand === undefined;
}

async function givenLogin(
  command: LoginCommand,
  host: string,
  options: CredentialsOptions,
): Promise<PushLogin | undefined> {
  const { username = "", credentialCommand } = command;
  if (credentialCommand === undefined) {
    const credentials = await givenCredentials(command, host, options);
    return credentials && { credentials };
  }
  const renew = (signal: AbortSignal) =>
    askCommand(credentialCommand, { username, variables: options.environment, signal });
  return { credentials: await renew(options.signal), from: "the credential command", renew };
}

/**
 * Takes the password from the environment, or from standard input, or, at a terminal, from a hidden prompt. Without a
 * user name, standard input is not read.
 */
async function givenCredentials(
  { username, password, passwordStdin, source }: LoginCommand,
  host: string,
  options: CredentialsOptions,
): Promise<Credentials | undefined> {
  if (username === undefined) return undefined;
  if (password !== undefined && !passwordStdin) return credentialsOf(username, password);
  const ask = (input?: NodeJS.ReadStream) => askForPassword(username, host, options.signal, input);
  if (source === "-") return credentialsOf(username, await askAtTerminal(ask));
  return credentialsOf(username, process.stdin.isTTY ? await ask() : await readPassword(options));
}

/** Asks the person at the terminal, whatever standard input is. */
async function askAtTerminal(ask: (input: NodeJS.ReadStream) => Promise<string>): Promise<string> {
  const { openSync } = await import("node:fs");
  const { ReadStream } = await import("node:tty");
  try {
    using input = Object.assign(new ReadStream(openSync("/dev/tty", "r")), {
      [Symbol.dispose](this: NodeJS.ReadStream) {
        this.destroy();
      },
    });
    return await ask(input);
  } catch (cause) {
    if (cause instanceof PushError) throw cause;
    throw new PushError(
      "PASSWORD_MISSING",
      "Standard input has the image, and there is no terminal to ask for the password.",
      {
        hint: "Set REGISTRY_JWT_TOKEN, use docker login, or push with SKIP_AUTH=1.",
        cause,
      },
    );
  }
}

async function readPassword({ signal, onWaiting }: CredentialsOptions): Promise<string> {
  const waiting = setTimeout(onWaiting, SILENT_WAIT_MS);
  try {
    const text = await Promise.race([readStandardInput(), rejectOnAbort(signal)]);
    // Remove the line break of "echo". No password ends in one on purpose.
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
        hint: `Pipe only the password in. An archive is named as the source: ${PROGRAM_NAME} image.tar TARGET`,
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

async function askForPassword(
  username: string,
  host: string,
  signal: AbortSignal,
  input: NodeJS.ReadStream = process.stdin,
): Promise<string> {
  // Slow to load, and needed by few.
  const { isCancel, password } = await import("@clack/prompts");
  const answer = await password({
    message: `Password of ${username} at ${host}`,
    input,
    output: process.stderr,
    // Do not show the length either.
    mask: "",
    signal,
  });
  signal.throwIfAborted();
  if (isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted: no password was given.");
  if (answer === undefined || answer === "")
    throw new PushError("PASSWORD_MISSING", "No password was given.");
  return answer;
}
