import { CommanderError } from "commander";
import { PushError } from "../errors.ts";
import type { LayerCompression } from "../oci/compression.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { DEFAULTS } from "../push/options.ts";
import type { ClientCertificate } from "../registry/http/trust.ts";
import { type CacheCommand, parseCacheCommand } from "./cache-command.ts";
import { layerCompression } from "./compression.ts";
import { headersOf } from "./headers.ts";
import { imageAt } from "./names.ts";
import { type Flags, pushProgram } from "./push-program.ts";
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
  /** Headers for what stands in front of the registry. */
  readonly headers: Readonly<Record<string, string>>;
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
  /** Shown to the registry. */
  readonly clientCertificate: ClientCertificate | undefined;
  readonly skipVerify: boolean;
  readonly cacheDirectory: string;
  /** Shows what other programs said when they failed. */
  readonly debug: boolean;
};

const MAX_STALL_SECONDS = 86_400;

const STALL_SECONDS = DEFAULTS.stallTimeoutMs / 1000;

/** The user name in serverless-registry's own tokens. The registry looks at the token alone. */
const TOKEN_USERNAME = "v0";

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

function pushCommand(positionals: readonly string[], flags: Flags, env: Environment): PushCommand {
  const [source, target] = positionals.length > 1 ? positionals : [undefined, positionals[0]];
  assertNotEmpty(source, "The source");
  assertNotEmpty(flags.username, "--username");
  assertNotEmpty(flags.cacheDir, "--cache-dir");
  assertNotEmpty(flags.caFile, "--ca-file");
  assertNotEmpty(flags.cert, "--cert");
  assertNotEmpty(flags.key, "--key");
  if (flags.key !== undefined && flags.cert === undefined) {
    throw new PushError("USAGE", "--key was given without a certificate.", { hint: "Add --cert." });
  }
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
    headers: headersOf(flags.header, env["CHUNKPUSH_HEADERS"]),
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
    clientCertificate: flags.cert === undefined ? undefined : { certFile: flags.cert, keyFile: flags.key },
    skipVerify: flags.insecureSkipVerify ?? false,
    cacheDirectory: flags.cacheDir ?? variable("CHUNKPUSH_CACHE_DIR") ?? DEFAULTS.cacheDirectory,
  };
}
