import { Command, CommanderError, Option } from "commander";
import { PushError } from "../errors.ts";
import { type LayerCompression, COMPRESSION_LEVELS as LEVELS } from "../oci/compression.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { DEFAULTS } from "../push/options.ts";
import { type CacheCommand, parseCacheCommand } from "./cache-command.ts";
import { layerCompression } from "./compression.ts";
import { imageAt } from "./names.ts";
import { usageError } from "./usage-error.ts";
import { assertNotEmpty, bytes, type Environment, integer, setting } from "./values.ts";

/** A command, as the arguments say it. */
export type Invocation =
  | { readonly kind: "push"; readonly push: PushCommand }
  | { readonly kind: "cache"; readonly cache: CacheCommand }
  /** Help or version: text to print, and nothing else to do. */
  | { readonly kind: "text"; readonly text: string };

export type PushCommand = {
  /** An archive, a folder, or an image of the engine. Undefined: look for one. */
  readonly source: string | undefined;
  readonly target: Reference;
  readonly username: string | undefined;
  /** The password of the environment. */
  readonly password: string | undefined;
  /** The password comes from standard input, even if the environment has one. */
  readonly passwordStdin: boolean;
  readonly skipAuth: boolean;
  readonly insecure: boolean;
  readonly parallel: number;
  readonly retries: number;
  readonly chunkBytes: number | undefined;
  /** The compression of layers that come uncompressed. */
  readonly compression: LayerCompression;
  readonly stallTimeoutMs: number;
  readonly allowOversize: boolean;
  /** Images of the same registry whose layers need not be made again. */
  readonly cacheFrom: readonly { readonly repository: string; readonly tag: string }[];
  /** PEM files with authorities to trust. */
  readonly caFiles: readonly string[];
  readonly skipVerify: boolean;
  readonly cacheDirectory: string;
  /** Shows what other programs said when they failed. */
  readonly debug: boolean;
};

const MAX_STALL_SECONDS = 86_400;

const STALL_SECONDS = DEFAULTS.stallTimeoutMs / 1000;

/** The user name in serverless-registry's own tokens. The registry looks at the token alone. */
const TOKEN_USERNAME = "v0";

const EXAMPLES = `
The target says where the image goes, as docker push has it; the tag is "latest" unless named:
  registry.example.com/my/app:v1     over https
  localhost:8787/my/app:v1           this machine: plain http without being told
  http://registry.lan/my/app:v1      plain http, by your own word

Without a source it pushes output.tar or .output-image/ of this folder, where there is one, else the image that
the Docker engine has under the target's name.

Examples:
  echo "$PASSWORD" | USERNAME_REGISTRY=me bun run index.ts registry.example.com/my/app:v1
  bun run index.ts my/app:v1 localhost:8787/my/app:v1
  bun run index.ts image.tar registry.example.com/my/app:v1

What earlier pushes left in the cache, and how it is pruned:
  bun run index.ts cache
  bun run index.ts cache prune --older-than 30d
  bun run index.ts cache --help

Environment only:
  REGISTRY_JWT_TOKEN   the password, or a token in its place; without it, the password is read from standard input
  SKIP_AUTH            any value: push without user and password
  DOCKER_CONFIG        the folder whose config.json has the logins of docker login (default: ~/.docker)
  REGISTRY_AUTH_FILE   the file that has the logins of podman login
  NODE_EXTRA_CA_CERTS, SSL_CERT_FILE
                       files with authorities to trust, as --ca-file
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                       as everywhere; this machine is never looked for behind a proxy

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.`;

/** The flags of a push, as help shows them. */
const FLAGS: readonly (readonly [flag: string, description: string])[] = [
  ["-u, --username <name>", "the user (env: USERNAME_REGISTRY)"],
  ["--password-stdin", "read the password from standard input, whatever else is set"],
  ["--insecure", "plain http (env: INSECURE_HTTP_PUSH=true)"],
  ["--parallel <n>", `uploads at a time (env: MAX_PARALLEL_LAYERS; default: ${DEFAULTS.parallel})`],
  ["--retries <n>", `tries after a failure (env: MAX_RETRIES; default: ${DEFAULTS.retries})`],
  [
    "--chunk-size <size>",
    "such as 50MB, at most what the registry allows (env: CHUNKPUSH_CHUNK_SIZE; default: as the link is, up to that)",
  ],
  [
    "--compression <kind>",
    "gzip, zstd or none; layers that come compressed stay as they are (env: CHUNKPUSH_COMPRESSION; default: gzip)",
  ],
  [
    "--compression-level <n>",
    `gzip: ${rangeOf(LEVELS.gzip)}; zstd: ${rangeOf(LEVELS.zstd)} (env: CHUNKPUSH_COMPRESSION_LEVEL)`,
  ],
  [
    "--cache-dir <folder>",
    `compressed layers, for the next push (env: CHUNKPUSH_CACHE_DIR; default: ${DEFAULTS.cacheDirectory})`,
  ],
  [
    "--stall-timeout <seconds>",
    `give a request up in which nothing moves for so long (env: CHUNKPUSH_STALL_TIMEOUT; default: ${STALL_SECONDS})`,
  ],
  ["--ca-file <file>", "trust the certificate authorities in this PEM file, too"],
  ["--insecure-skip-verify", "do not check the certificate of the registry's own host"],
  ["--debug", "show what a credential helper said when it failed"],
  ["--allow-oversize", "try blobs over 5 GiB on serverless-registry all the same"],
];

/** Reads arguments and environment. Flags override variables. Throws `USAGE` and `REFERENCE_INVALID`. */
export function parseInvocation(args: readonly string[], env: Environment, version: string): Invocation {
  const cache = parseCacheCommand(args, env);
  if (cache !== undefined)
    return typeof cache === "string" ? { kind: "text", text: cache } : { kind: "cache", cache };
  let text = "";
  const program = pushProgram(version).configureOutput({
    writeOut: (out) => {
      text += out;
    },
    writeErr: () => {},
  });
  try {
    program.parse([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "text", text };
    throw usageError(error);
  }
  return { kind: "push", push: pushCommand(program.args, program.opts(), env) };
}

function pushProgram(version: string): Command {
  const program = new Command("chunkpush")
    .description("Pushes a container image to a registry that refuses big request bodies, in chunks.")
    .argument("[source]", "an archive, a folder, or an image of the Docker engine")
    .argument("<target>", "where it goes: registry/repository:tag");
  for (const [flag, description] of FLAGS) program.addOption(new Option(flag, description));
  program
    .addOption(
      new Option(
        "--cache-from <image>",
        "reuse layers of this image of the same registry, which you trust: registry/repo:main, or main for a tag of the target's repository; may be repeated",
      ).argParser((image: string, before: readonly string[] = []) => [...before, image]),
    )
    .version(version, "-V, --version")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    // Commander fills required arguments from the left. Here the first one may be missing.
    .usage("[options] [source] <target>");
  program.registeredArguments.forEach((argument, i) => {
    argument.required = i === 0;
  });
  return program;
}

type Flags = {
  readonly username?: string;
  readonly passwordStdin?: true;
  readonly insecure?: true;
  readonly parallel?: string;
  readonly retries?: string;
  readonly chunkSize?: string;
  readonly compression?: string;
  readonly compressionLevel?: string;
  readonly cacheDir?: string;
  readonly stallTimeout?: string;
  readonly allowOversize?: true;
  readonly debug?: true;
  readonly cacheFrom?: string[];
  readonly caFile?: string;
  readonly insecureSkipVerify?: true;
};

function pushCommand(positionals: readonly string[], flags: Flags, env: Environment): PushCommand {
  const [source, target] = positionals.length > 1 ? positionals : [undefined, positionals[0]];
  assertNotEmpty(source, "The source");
  assertNotEmpty(flags.username, "--username");
  assertNotEmpty(flags.cacheDir, "--cache-dir");
  assertNotEmpty(flags.caFile, "--ca-file");
  const variable = (name: string) => env[name] || undefined;
  const password = variable("REGISTRY_JWT_TOKEN");
  const username = flags.username ?? variable("USERNAME_REGISTRY") ?? (password && TOKEN_USERNAME);
  if (username?.includes(":")) {
    throw new PushError(
      "USAGE",
      "The user name contains a colon, which Basic authentication does not allow.",
    );
  }
  if (flags.passwordStdin && username === undefined) {
    throw new PushError("USAGE", "--password-stdin was given without a user name.", {
      hint: "Add --username or set USERNAME_REGISTRY.",
    });
  }
  const destination = parseReference(target ?? "");
  return {
    source,
    target: destination,
    username,
    password,
    passwordStdin: flags.passwordStdin ?? false,
    skipAuth: variable("SKIP_AUTH") !== undefined,
    insecure: flags.insecure ?? /^(?:true|1|yes|on)$/i.test(env["INSECURE_HTTP_PUSH"] ?? ""),
    parallel:
      integer(setting("--parallel", flags.parallel, "MAX_PARALLEL_LAYERS", env), 1) ?? DEFAULTS.parallel,
    retries: integer(setting("--retries", flags.retries, "MAX_RETRIES", env), 0) ?? DEFAULTS.retries,
    chunkBytes: bytes(setting("--chunk-size", flags.chunkSize, "CHUNKPUSH_CHUNK_SIZE", env)),
    compression: layerCompression(
      setting("--compression", flags.compression, "CHUNKPUSH_COMPRESSION", env),
      setting("--compression-level", flags.compressionLevel, "CHUNKPUSH_COMPRESSION_LEVEL", env),
    ),
    stallTimeoutMs:
      (integer(
        setting("--stall-timeout", flags.stallTimeout, "CHUNKPUSH_STALL_TIMEOUT", env),
        1,
        MAX_STALL_SECONDS,
      ) ?? STALL_SECONDS) * 1000,
    allowOversize: flags.allowOversize ?? false,
    debug: flags.debug ?? false,
    cacheFrom: (flags.cacheFrom ?? []).map((text) => imageAt(destination, text)),
    caFiles: [flags.caFile, variable("SSL_CERT_FILE")].filter((path) => path !== undefined),
    skipVerify: flags.insecureSkipVerify ?? false,
    cacheDirectory: flags.cacheDir ?? variable("CHUNKPUSH_CACHE_DIR") ?? DEFAULTS.cacheDirectory,
  };
}

function rangeOf({ min, max, default: usual }: (typeof LEVELS)["gzip" | "zstd"]): string {
  return `${min} to ${max}, default ${usual}`;
}
