import type { Command } from "commander";
import { PushError } from "../errors.ts";
import { DEFAULTS } from "../push/options.ts";
import { TOKEN_USERNAME } from "../registry/auth/credentials.ts";
import type { ClientCertificate } from "../registry/http/trust.ts";
import { addFlags, type FlagHelp } from "./add-flags.ts";
import { headersOf } from "./headers.ts";
import { assertNotEmpty, chunkSize, type Environment, integer, setting, truth } from "./values.ts";

/** How to reach a registry, and how to send to it. */
export type RegistryCommand = {
  readonly username: string | undefined;
  /** The password of a flag or of the environment. */
  readonly password: string | undefined;
  readonly passwordIn: "REGISTRY_JWT_TOKEN" | "--creds";
  /** The password comes from standard input, even if the environment has one. */
  readonly passwordStdin: boolean;
  /** Prints the credentials, at the start and whenever they end. */
  readonly credentialCommand: string | undefined;
  /** The only file with logins to use. */
  readonly authFile: string | undefined;
  readonly skipAuth: boolean;
  /** Headers for what stands in front of the registry. */
  readonly headers: Readonly<Record<string, string>>;
  readonly insecure: boolean;
  readonly parallel: number;
  readonly retries: number;
  readonly chunkBytes: number | undefined;
  readonly stallTimeoutMs: number;
  readonly allowOversize: boolean;
  /** PEM files with authorities to trust. */
  readonly caFiles: readonly string[];
  /** Shown to the registry. */
  readonly clientCertificate: ClientCertificate | undefined;
  readonly skipVerify: boolean;
  readonly cacheDirectory: string;
  /** Shows what other programs said when they failed. */
  readonly debug: boolean;
};

const STALL_SECONDS = DEFAULTS.stallTimeoutMs / 1000;
const MAX_STALL_SECONDS = 86_400;

export const AUTH_FILE: FlagHelp = [
  "--authfile <file>",
  "use only the logins in this file, which has the format of Podman's auth.json",
];

const AUTHENTICATION: readonly FlagHelp[] = [
  ["-u, --username <name>", "user name (env: USERNAME_REGISTRY)"],
  ["--password-stdin", "read the password from standard input; overrides the environment"],
  ["--creds <user:password>", "user name and password; other users of this machine can see them"],
  ["--dest-creds <user:password>", "as --creds, for users of skopeo", "hidden"],
  AUTH_FILE,
];

const CREDENTIAL_COMMAND: FlagHelp = [
  "--credential-command <shell>",
  "run this to get the password, or JSON with user and password; it runs again when they expire (env: CHUNKPUSH_CREDENTIAL_COMMAND)",
];

const NETWORK: readonly FlagHelp[] = [
  ["--plain-http, --insecure", "use plain HTTP (env: INSECURE_HTTP_PUSH=true; default for this machine)"],
  ["--insecure-skip-verify", "do not verify the certificate of the registry's own host"],
  ["--tls-verify <bool>", "false is --insecure-skip-verify; plain HTTP needs --plain-http"],
  ["--dest-tls-verify <bool>", "as --tls-verify, for users of skopeo", "hidden"],
  ["--ca-file <file>", "also trust the certificate authorities in this PEM file"],
  ["--cert <file>", "client certificate for the registry (PEM)"],
  ["--key <file>", "key of the client certificate (PEM; default: the file of --cert)"],
  [
    "--header <'name: value'>",
    "send this header to the registry, such as 'CF-Access-Client-Id: …'; may be repeated (env: CHUNKPUSH_HEADERS, one per line)",
    "repeatable",
  ],
  ["--retries <n>", `retries per failure (env: MAX_RETRIES; default: ${DEFAULTS.retries})`],
  [
    "--stall-timeout <seconds>",
    `abort a request that is idle for so long (env: CHUNKPUSH_STALL_TIMEOUT; default: ${STALL_SECONDS})`,
  ],
];

const CHUNKS: readonly FlagHelp[] = [
  [
    "--chunk-size <size>",
    "largest request body, such as 50MB (env: CHUNKPUSH_CHUNK_SIZE; default: adapts to the link's speed, up to what the registry allows)",
  ],
  [
    "-j, --parallel <n>",
    `layers to upload at the same time (env: MAX_PARALLEL_LAYERS; default: ${DEFAULTS.parallel})`,
  ],
  ["--allow-oversize", "try blobs over 5 GiB on serverless-registry, where they are known to fail"],
];

const CACHE: FlagHelp = [
  "--cache-dir <folder>",
  `folder for compressed layers (env: CHUNKPUSH_CACHE_DIR; default: ${DEFAULTS.cacheDirectory})`,
];

const DEBUG: readonly FlagHelp[] = [
  ["-v, --verbose", "show each request (with its time) and the output of programs that fail"],
  ["--debug", "the same as --verbose"],
];

/** The values of the flags, as they were written. */
export type RegistryFlags = {
  readonly username?: string;
  readonly passwordStdin?: true;
  readonly credentialCommand?: string;
  readonly authfile?: string;
  readonly creds?: string;
  readonly destCreds?: string;
  readonly insecure?: true;
  readonly parallel?: string;
  readonly retries?: string;
  readonly chunkSize?: string;
  readonly cacheDir?: string;
  readonly stallTimeout?: string;
  readonly allowOversize?: true;
  readonly debug?: true;
  readonly verbose?: true;
  readonly header?: string[];
  readonly caFile?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecureSkipVerify?: true;
  readonly tlsVerify?: string;
  readonly destTlsVerify?: string;
};

/** Adds the flags to a command's parser. */
export function addRegistryFlags(program: Command): Command {
  addFlags(program, "Authentication", [...AUTHENTICATION, CREDENTIAL_COMMAND]);
  addFlags(program, "Network", NETWORK);
  addFlags(program, "Chunks", CHUNKS);
  addFlags(program, "Layers", [CACHE]);
  return addFlags(program, "Output", DEBUG);
}

/** Adds the flags that reach a registry, and say who pushes. */
export function addLoginFlags(program: Command): Command {
  addFlags(program, "Authentication", AUTHENTICATION);
  addFlags(program, "Network", NETWORK);
  return addFlags(program, "Output", DEBUG);
}

/** Reads flags and variables. Flags override variables. Throws `USAGE`. */
export function registryCommand(flags: RegistryFlags, env: Environment): RegistryCommand {
  assertNotEmpty(flags.cacheDir, "--cache-dir");
  assertNotEmpty(flags.caFile, "--ca-file");
  assertNotEmpty(flags.cert, "--cert");
  assertNotEmpty(flags.key, "--key");
  if (flags.key !== undefined && flags.cert === undefined) {
    throw new PushError("USAGE", "--key was given without a certificate.", { hint: "Add --cert." });
  }
  const variable = (name: string) => env[name] || undefined;
  return {
    ...userCommand(flags, env),
    skipAuth: variable("SKIP_AUTH") !== undefined,
    headers: headersOf(flags.header, env["CHUNKPUSH_HEADERS"]),
    insecure: flags.insecure ?? /^(?:true|1|yes|on)$/i.test(env["INSECURE_HTTP_PUSH"] ?? ""),
    parallel:
      integer(setting("--parallel", flags.parallel, "MAX_PARALLEL_LAYERS", env), 1) ?? DEFAULTS.parallel,
    retries: integer(setting("--retries", flags.retries, "MAX_RETRIES", env), 0) ?? DEFAULTS.retries,
    chunkBytes: chunkSize(setting("--chunk-size", flags.chunkSize, "CHUNKPUSH_CHUNK_SIZE", env)),
    stallTimeoutMs:
      (integer(
        setting("--stall-timeout", flags.stallTimeout, "CHUNKPUSH_STALL_TIMEOUT", env),
        1,
        MAX_STALL_SECONDS,
      ) ?? STALL_SECONDS) * 1000,
    allowOversize: flags.allowOversize ?? false,
    debug: flags.debug ?? flags.verbose ?? false,
    caFiles: [flags.caFile, variable("SSL_CERT_FILE")].filter((path) => path !== undefined),
    clientCertificate: flags.cert === undefined ? undefined : { certFile: flags.cert, keyFile: flags.key },
    skipVerify:
      flags.insecureSkipVerify ?? !(truth("--tls-verify", flags.tlsVerify ?? flags.destTlsVerify) ?? true),
    cacheDirectory: flags.cacheDir ?? variable("CHUNKPUSH_CACHE_DIR") ?? DEFAULTS.cacheDirectory,
  };
}

type UserCommand = Pick<
  RegistryCommand,
  "username" | "password" | "passwordIn" | "passwordStdin" | "credentialCommand" | "authFile"
>;

/** Reads who pushes, and what gives the password. Throws `USAGE`. */
function userCommand(flags: RegistryFlags, env: Environment): UserCommand {
  assertNotEmpty(flags.username, "--username");
  assertNotEmpty(flags.credentialCommand, "--credential-command");
  assertNotEmpty(flags.authfile, "--authfile");
  const { passwordStdin = false, authfile: authFile } = flags;
  const creds = userAndPassword(flags);
  if (creds !== undefined)
    return { ...creds, passwordIn: "--creds", passwordStdin, credentialCommand: undefined, authFile };
  const variable = (name: string) => env[name] || undefined;
  const password = variable("REGISTRY_JWT_TOKEN");
  // --password-stdin is stronger than any variable.
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

/** Reads `--creds`. The message repeats nothing of it. */
function userAndPassword({ creds, destCreds, ...others }: RegistryFlags) {
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
