import { PushError } from "../errors.ts";
import type { LayerCompression } from "../oci/compression.ts";
import { canonicalPlatform } from "../oci/platform.ts";
import { parseRegistry, type Reference, type Registry } from "../oci/reference.ts";
import type { PushOptions } from "../push/options.ts";
import type { CommandContext } from "./command.ts";
import { layerCompression } from "./compression.ts";
import { explainArguments, explainCommand } from "./mistakes.ts";
import { imageAt, sourceAlone, sourceAndTargets } from "./names.ts";
import { parseArguments } from "./parse-arguments.ts";
import { type Progress, progressOf } from "./progress.ts";
import { type Flags, pushProgram } from "./push-program.ts";
import { type RegistryCommand, registryCommand } from "./registry-flags.ts";
import { assertNotEmpty, type Environment, invalidValue, type Setting, setting } from "./values.ts";

type RuntimeName = NonNullable<PushOptions["runtime"]>;
export const RUNTIMES: readonly RuntimeName[] = ["docker", "podman", "nerdctl"];

export type PushCommand = RegistryCommand & {
  /** An archive, a folder, or an image of the engine. Undefined: look for one. */
  readonly source: string | undefined;
  /** At least one. User, password, headers and client certificate are for the registry of the first. */
  readonly targets: readonly [Reference, ...Reference[]];
  /** Only shows what the push would do. */
  readonly dryRun: boolean;
  /** The image to push: a name in the source, or a digest. */
  readonly image: string | undefined;
  readonly platforms: readonly string[];
  readonly allPlatforms: boolean;
  /** Undefined: the first engine that has the image. */
  readonly runtime: RuntimeName | undefined;
  /** Recompresses layers that are compressed in the source. */
  readonly forceCompression: boolean;
  /** The compression of layers that are uncompressed in the source. */
  readonly compression: LayerCompression;
  readonly progress: Progress;
  /** The file for the digest. */
  readonly digestFile: string | undefined;
  /** Images of the same registry whose layers are reused. */
  readonly cacheFrom: readonly { readonly repository: string; readonly tag: string }[];
};

/** A push without a target. */
export type Targetless = {
  /** The only argument. Undefined: look for an archive or a folder. */
  readonly source: string | undefined;
  /** The error if the argument is no source. */
  readonly reason: PushError;
  /** The registry to suggest. Undefined: those of the last pushes. */
  readonly registry: Registry | undefined;
  readonly choice: Pick<PushCommand, "image" | "platforms" | "allPlatforms" | "runtime" | "progress">;
  /** Adds the target. Throws `USAGE` and `REFERENCE_INVALID`. */
  readonly complete: (target: string) => PushCommand;
};

/**
 * Reads the arguments of a push and the environment, or returns the help or version. Flags override variables. Throws
 * `USAGE` and `REFERENCE_INVALID`.
 */
export function parsePush(
  args: readonly string[],
  env: Environment,
  context?: Pick<CommandContext, "commands">,
): PushCommand | string {
  const parsed = parseTargetless(args, env, context);
  if (typeof parsed === "object" && "reason" in parsed) throw parsed.reason;
  return parsed;
}

/**
 * Reads the same, or a push without a target: a person may be asked for it. Throws `USAGE` and `REFERENCE_INVALID`.
 *
 * @param words those of the command, such as `plan`, which its hints repeat
 */
export function parseTargetless(
  args: readonly string[],
  env: Environment,
  { commands }: Pick<CommandContext, "commands"> = { commands: [] },
  words: readonly string[] = [],
  program = pushProgram(),
): PushCommand | Targetless | string {
  // Only the first word may be a mistyped command.
  const names = words.length > 0 ? [] : commands.map(({ name }) => name);
  const explain = () =>
    program.opts<Flags>().tag === undefined ? explainArguments(program.args, names, words) : undefined;
  const text = parseArguments(program, args, ({ code }) => {
    if (code === "commander.excessArguments") return explain();
    return code === "commander.unknownOption" ? explainCommand(args[0] ?? "", names) : undefined;
  });
  if (text !== undefined) return text;
  const { args: positionals } = program;
  const { registry, ...flags } = program.opts<Flags>();
  const alone = sourceAlone(positionals, flags.tag, words);
  if (alone === undefined) {
    if (registry !== undefined) throw contradiction("A target was named together with --registry.");
    try {
      return pushCommand(positionals, flags, env);
    } catch (error) {
      const isInvalid = error instanceof PushError && error.code === "REFERENCE_INVALID";
      throw (isInvalid ? explain() : undefined) ?? error;
    }
  }
  const complete = (target: string) => pushCommand([...positionals, target], flags, env);
  // Find other mistakes in the arguments before a person is asked.
  const { cacheFrom: _, ...others } = flags;
  const choice = pushCommand([...positionals, "registry.example.com/my/app"], others, env);
  return {
    source: alone.source,
    reason: explain() ?? alone.reason,
    choice,
    complete,
    registry: registry === undefined ? registry : parseRegistry(registry),
  };
}

/** Other names of standard input, which has either the image or the password. */
const STANDARD_INPUT = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

function pushCommand(positionals: readonly string[], flags: Flags, env: Environment): PushCommand {
  const { source: written, targets } = sourceAndTargets(positionals, flags.tag);
  const source = STANDARD_INPUT.includes(written ?? "") ? "-" : written;
  assertNotEmpty(source, "The source");
  assertNotEmpty(flags.image, "--image");
  assertNotEmpty(flags.digestfile, "--digestfile");
  if (source === "-" && flags.passwordStdin)
    throw contradiction("Standard input has the image, and --password-stdin reads the password from there.");
  const compression = layerCompression(
    setting("--compression", flags.compression, "CHUNKPUSH_COMPRESSION", env),
    setting("--compression-level", flags.compressionLevel, "CHUNKPUSH_COMPRESSION_LEVEL", env),
  );
  if (flags.forceCompression && compression.kind === "none")
    throw contradiction("--force-compression compresses, but the compression is none.");
  const platforms = (flags.platform ?? []).flatMap((list) => list.split(","));
  if (flags.allPlatforms && platforms.length > 0)
    throw contradiction("--all-platforms was given together with --platform.");
  return {
    ...registryCommand(flags, env),
    source,
    targets,
    dryRun: flags.dryRun ?? false,
    image: flags.image,
    platforms: [...new Set(platforms.map((text) => canonicalPlatform(text.trim())))],
    allPlatforms: flags.allPlatforms ?? false,
    runtime: runtimeName(setting("--runtime", flags.runtime, "CHUNKPUSH_RUNTIME", env)),
    forceCompression: flags.forceCompression ?? false,
    compression,
    progress: progressOf(flags, env),
    digestFile: flags.digestfile,
    cacheFrom: (flags.cacheFrom ?? []).map((text) => imageAt(targets[0], text)),
  };
}

function contradiction(message: string): PushError {
  return new PushError("USAGE", message, { hint: "Leave one of them out." });
}

/** Reads the name of an engine's command. Throws `USAGE`. */
export function runtimeName({ name, text }: Setting): RuntimeName | undefined {
  const found = RUNTIMES.find((each) => each === text);
  if (found !== undefined || text === undefined) return found;
  const hint = "Leave it out to take the first one that has the image.";
  throw invalidValue({ name, text }, "docker, podman or nerdctl", hint);
}
