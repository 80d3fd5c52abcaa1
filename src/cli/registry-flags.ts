import type { Command } from "commander";
import { PushError } from "../errors.ts";
import { DEFAULTS } from "../push/options.ts";
import type { ClientCertificate } from "../registry/http/trust.ts";
import { addFlags, type FlagHelp } from "./add-flags.ts";
import { headersOf } from "./headers.ts";
import { type UserCommand, type UserFlags, userCommand } from "./user-flags.ts";
import { assertNotEmpty, chunkSize, type Environment, integer, setting, truth } from "./values.ts";

/** The settings to reach a registry and to send to it. */
export type RegistryCommand = UserCommand & {
  readonly skipAuth: boolean;
  /** Headers for a gateway in front of the registry. */
  readonly headers: Readonly<Record<string, string>>;
  readonly insecure: boolean;
  readonly parallel: number;
  readonly retries: number;
  readonly chunkBytes: number | undefined;
  readonly stallTimeoutMs: number;
  readonly allowOversize: boolean;
  /** PEM files with certificate authorities to trust. */
  readonly caFiles: readonly string[];
  readonly clientCertificate: ClientCertificate | undefined;
  readonly skipVerify: boolean;
  readonly cacheDirectory: string;
  /** Shows requests, and the output of programs that fail. */
  readonly debug: boolean;
};

const STALL_SECONDS = DEFAULTS.stallTimeoutMs / 1000;
const MAX_STALL_SECONDS = 86_400;

/** @param description what a command does with the file */
export function authFileFlag(description: string): FlagHelp {
  return ["--authfile <file>", `${description} (env: REGISTRY_AUTH_FILE)`];
}

const AUTHENTICATION: readonly FlagHelp[] = [
  ["-u, --username <name>", "user name (env: USERNAME_REGISTRY)"],
  ["--password-stdin", "read the password from standard input; overrides the environment"],
  ["--creds <user:password>", "user name and password; other users of this machine can see them"],
  ["--dest-creds <user:password>", "as --creds, for users of skopeo", "hidden"],
];

const AUTH_FILE: FlagHelp = [
  "--authfile <file>",
  "use only the logins in this file, which has the format of Podman's auth.json",
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

/** The flags, as written. */
export type RegistryFlags = UserFlags & {
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

/** Adds all of these flags to a command's parser. */
export function addRegistryFlags(program: Command): Command {
  addFlags(program, "Authentication", [...AUTHENTICATION, AUTH_FILE, CREDENTIAL_COMMAND]);
  addFlags(program, "Network", NETWORK);
  addFlags(program, "Chunks", CHUNKS);
  addFlags(program, "Layers", [CACHE]);
  return addFlags(program, "Output", DEBUG);
}

/**
 * Adds the flags of authentication and network to a command's parser.
 *
 * @param saving what the command does with the file of `--authfile`
 */
export function addLoginFlags(program: Command, saving: string): Command {
  addFlags(program, "Authentication", [...AUTHENTICATION, authFileFlag(saving)]);
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
