import { PushError } from "../errors.ts";
import { askCommand } from "../logins/credential-command.ts";
import { findLogin } from "../logins/find-login.ts";
import type { LoginEnvironment } from "../logins/login-places.ts";
import type { Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushLogin } from "../push/options.ts";
import {
  type Credentials,
  type CredentialsOrigin,
  credentialsOf,
  usernameOf,
} from "../registry/auth/credentials.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { askPassword } from "./ask-login.ts";
import { loginEnvironment } from "./login-environment.ts";
import type { RegistryCommand } from "./registry-flags.ts";
import { openTerminal } from "./terminal.ts";
import type { Environment } from "./values.ts";

/** Longer input is not a password, and was piped in by mistake. */
const MAX_PASSWORD_BYTES = 64 * 1024;

/** A piped password arrives at once. After this time the user is told what the push waits for. */
const SILENT_WAIT_MS = 1000;

type LoginCommand = Pick<
  RegistryCommand,
  "username" | "password" | "passwordIn" | "passwordStdin" | "skipAuth"
> & {
  readonly credentialCommand?: string | undefined;
  readonly authFile?: string | undefined;
  /** If it is "-", standard input has the image. */
  readonly source?: string | undefined;
};

/** The place to log in to. An empty repository stands for the whole registry. */
type LoginTarget = Pick<Reference, "host" | "repository">;

/** Codes of notices: standard input has no password yet, or other users can see the password. */
export type PasswordNotice = "PASSWORD_AWAITED" | "PASSWORD_EXPOSED";

export type CredentialsOptions = {
  readonly environment: Environment;
  readonly signal: AbortSignal;
  readonly onNotice: (code: PasswordNotice) => void;
  /** How to give the password. @default the ways of a push */
  readonly hint?: string;
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
  const places = loginEnvironment(options.environment, command.authFile);
  return async (target) => {
    if (command.skipAuth) return undefined;
    if (target.host === host) {
      // Before a person is asked, a saved login of that user will do.
      const isSaved = needsPassword(command) && isTyped(command);
      const saved = isSaved ? await savedLogin(target, places, options.signal) : undefined;
      if (saved && usernameOf(saved.credentials) === command.username) return saved;
      given ??= givenLogin(command, host, options);
      const login = await given;
      if (login !== undefined) return login;
    }
    return savedLogin(target, places, options.signal);
  };
}

/** Finds a saved login, whose place messages about a refusal name. */
async function savedLogin(
  target: LoginTarget,
  places: LoginEnvironment,
  signal: AbortSignal,
): Promise<PushLogin | undefined> {
  const login = await findLogin(target, places, signal);
  const { authFile } = places;
  return login && withOrigin(login, { kind: "login", name: login.from, key: login.key, authFile });
}

/** Adds to credentials, and to those that replace them, where they are from. */
function withOrigin({ credentials, from, renew }: PushLogin, origin: CredentialsOrigin): PushLogin {
  return {
    credentials: { ...credentials, origin },
    from,
    renew:
      renew &&
      (async (signal) => {
        const renewed = await renew(signal);
        return renewed && { ...renewed, origin };
      }),
  };
}

/** Tells whether a password would come from a person at the terminal. */
function isTyped({ source }: Pick<LoginCommand, "source">): boolean {
  return source === "-" || process.stdin.isTTY;
}

/** Tells whether a user was named, and nothing gives the password. */
function needsPassword({ username, password, passwordStdin, credentialCommand }: LoginCommand): boolean {
  const isGiven = passwordStdin || password !== undefined || credentialCommand !== undefined;
  return username !== undefined && !isGiven;
}

async function givenLogin(
  command: LoginCommand,
  host: string,
  options: CredentialsOptions,
): Promise<PushLogin | undefined> {
  const { username = "", credentialCommand } = command;
  if (credentialCommand === undefined) {
    const credentials = await givenCredentials(command, host, options);
    const { origin } = credentials ?? {};
    return credentials && { credentials, from: origin?.kind === "setting" ? origin.name : undefined };
  }
  const renew = (signal: AbortSignal) =>
    askCommand(credentialCommand, { username, variables: options.environment, signal });
  const login = { credentials: await renew(options.signal), from: "the credential command", renew };
  return withOrigin(login, { kind: "command" });
}

/**
 * Takes the password from the environment, or from standard input, or, at a terminal, from a hidden prompt. Without a
 * user name, standard input is not read. Throws `PASSWORD_MISSING`.
 */
export async function givenCredentials(
  { username, password, passwordIn, passwordStdin, source }: LoginCommand,
  host: string,
  options: CredentialsOptions,
): Promise<Credentials | undefined> {
  if (username === undefined) return undefined;
  if (password !== undefined && passwordIn === "--creds") options.onNotice("PASSWORD_EXPOSED");
  if (password !== undefined && !passwordStdin)
    return { ...credentialsOf(username, password), origin: { kind: "setting", name: passwordIn } };
  if (!isTyped({ source }))
    return { ...credentialsOf(username, await readPassword(options)), origin: { kind: "piped" } };
  const typed = await typedPassword(username, host, options);
  return { ...credentialsOf(username, typed), origin: { kind: "typed" } };
}

async function typedPassword(
  username: string,
  host: string,
  { signal, hint }: CredentialsOptions,
): Promise<string> {
  const terminal = await openTerminal();
  if (terminal !== undefined) return await askPassword(terminal, username, host, signal);
  throw new PushError("PASSWORD_MISSING", "There is no terminal to ask for the password.", {
    hint:
      hint ??
      `Set REGISTRY_JWT_TOKEN, log in with "${PROGRAM_NAME} login ${host}", or set SKIP_AUTH=1 to push anonymously.`,
  });
}

async function readPassword({ signal, onNotice, hint }: CredentialsOptions): Promise<string> {
  const waiting = setTimeout(() => onNotice("PASSWORD_AWAITED"), SILENT_WAIT_MS);
  try {
    const text = await unlessAborted(readStandardInput(hint), signal);
    // Remove the line break of "echo". No password ends in one on purpose.
    const password = text.replace(/\r?\n$/, "");
    if (password !== "") return password;
  } finally {
    clearTimeout(waiting);
  }
  throw new PushError("PASSWORD_MISSING", "No password on standard input.", {
    hint:
      hint ??
      'A user was named. Pipe the password in, as in echo "$PASSWORD" | …, and check that the variable is set; or set REGISTRY_JWT_TOKEN; or set SKIP_AUTH=1 to push anonymously.',
  });
}

async function readStandardInput(hint?: string): Promise<string> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of Bun.stdin.stream()) {
    pieces.push(piece);
    sizeBytes += piece.length;
    if (sizeBytes > MAX_PASSWORD_BYTES) {
      throw new PushError("USAGE", "Standard input is too long for a password.", {
        hint:
          hint ??
          `Pipe only the password in. Name an archive as the source: ${PROGRAM_NAME} image.tar TARGET`,
      });
    }
  }
  return Buffer.concat(pieces).toString("utf8");
}
