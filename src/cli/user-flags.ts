import { PushError } from "../errors.ts";
import { TOKEN_USERNAME } from "../registry/auth/credentials.ts";
import { assertNotEmpty, type Environment } from "./values.ts";

/** The user, and the source of the password. */
export type UserCommand = {
  readonly username: string | undefined;
  /** The password of a flag or of the environment. */
  readonly password: string | undefined;
  readonly passwordIn: "REGISTRY_JWT_TOKEN" | "--creds";
  /** The password comes from standard input, even if the environment has one. */
  readonly passwordStdin: boolean;
  /** A command that prints the credentials. It runs at the start and when they expire. */
  readonly credentialCommand: string | undefined;
  /** The only file whose logins are used. */
  readonly authFile: string | undefined;
};

/** The flags, as written. */
export type UserFlags = {
  readonly username?: string;
  readonly passwordStdin?: true;
  readonly credentialCommand?: string;
  readonly authfile?: string;
  readonly creds?: string;
  readonly destCreds?: string;
};

/** Reads the user and the source of the password. Throws `USAGE`. */
export function userCommand(flags: UserFlags, env: Environment): UserCommand {
  assertNotEmpty(flags.username, "--username");
  assertNotEmpty(flags.credentialCommand, "--credential-command");
  assertNotEmpty(flags.authfile, "--authfile");
  const { passwordStdin = false, authfile: authFile } = flags;
  const creds = userAndPassword(flags);
  if (creds !== undefined)
    return { ...creds, passwordIn: "--creds", passwordStdin, credentialCommand: undefined, authFile };
  const variable = (name: string) => env[name] || undefined;
  const password = variable("REGISTRY_JWT_TOKEN");
  // --password-stdin overrides every variable.
  const credentialCommand =
    flags.credentialCommand ?? (passwordStdin ? undefined : variable("CHUNKPUSH_CREDENTIAL_COMMAND"));
  const username =
    flags.username ?? variable("USERNAME_REGISTRY") ?? ((password ?? credentialCommand) && TOKEN_USERNAME);
  if (username?.includes(":")) {
    throw new PushError(
      "USAGE",
      "The user name contains a colon, which Basic authentication does not allow.",
    );
  }
  if (passwordStdin && flags.credentialCommand !== undefined) {
    throw new PushError("USAGE", "--password-stdin and --credential-command were both given.", {
      hint: "Only one of them can give the password.",
    });
  }
  if (passwordStdin && username === undefined) {
    throw new PushError("USAGE", "--password-stdin was given without a user name.", {
      hint: "Add --username or set USERNAME_REGISTRY.",
    });
  }
  return { username, password, passwordIn: "REGISTRY_JWT_TOKEN", passwordStdin, credentialCommand, authFile };
}

/** Reads `--creds`. Errors do not quote it. */
function userAndPassword({ creds, destCreds, ...others }: UserFlags) {
  const text = creds ?? destCreds;
  if (text === undefined) return undefined;
  // The password may contain colons.
  const [, username, password] = /^([^:]+):(.+)$/s.exec(text) ?? [];
  if (username === undefined || password === undefined) {
    throw new PushError("USAGE", "--creds has an invalid value (expected USER:PASSWORD).", {
      hint: "Use --username alone to type the password or to pipe it in.",
    });
  }
  if (others.username ?? others.passwordStdin ?? others.credentialCommand) {
    throw new PushError("USAGE", "--creds was given together with another user or password.", {
      hint: "Leave out --username, --password-stdin and --credential-command.",
    });
  }
  return { username, password };
}
