import { CommanderError } from "commander";
import type { LayerCompression } from "../oci/compression.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { type CacheCommand, parseCacheCommand } from "./cache-command.ts";
import { layerCompression } from "./compression.ts";
import { imageAt } from "./names.ts";
import { type ProxyCommand, parseProxyCommand } from "./proxy-program.ts";
import { type Flags, pushProgram } from "./push-program.ts";
import { type RegistryCommand, registryCommand } from "./registry-flags.ts";
import { usageError } from "./usage-error.ts";
import { assertNotEmpty, type Environment, setting } from "./values.ts";

/** A command, as the arguments say it. */
export type Invocation =
  | { readonly kind: "push"; readonly push: PushCommand }
  | { readonly kind: "cache"; readonly cache: CacheCommand }
  | { readonly kind: "proxy"; readonly proxy: ProxyCommand }
  /** Help or version: text to print, and nothing else to do. */
  | { readonly kind: "text"; readonly text: string };

export type PushCommand = RegistryCommand & {
  /** An archive, a folder, or an image of the engine. Undefined: look for one. */
  readonly source: string | undefined;
  readonly target: Reference;
  /** The compression of layers that come uncompressed. */
  readonly compression: LayerCompression;
  /** Images of the same registry whose layers need not be made again. */
  readonly cacheFrom: readonly { readonly repository: string; readonly tag: string }[];
};

/** Reads arguments and environment. Flags override variables. Throws `USAGE` and `REFERENCE_INVALID`. */
export function parseInvocation(args: readonly string[], env: Environment, version: string): Invocation {
  const cache = parseCacheCommand(args, env);
  if (cache !== undefined)
    return typeof cache === "string" ? { kind: "text", text: cache } : { kind: "cache", cache };
  const proxy = parseProxyCommand(args, env);
  if (proxy !== undefined)
    return typeof proxy === "string" ? { kind: "text", text: proxy } : { kind: "proxy", proxy };
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
  const registry = registryCommand(flags, env);
  const destination = parseReference(target ?? "");
  return {
    ...registry,
    source,
    target: destination,
    compression: layerCompression(
      setting("--compression", flags.compression, "CHUNKPUSH_COMPRESSION", env),
      setting("--compression-level", flags.compressionLevel, "CHUNKPUSH_COMPRESSION_LEVEL", env),
    ),
    cacheFrom: (flags.cacheFrom ?? []).map((text) => imageAt(destination, text)),
  };
}
