import { type Command, Option } from "commander";
import { PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { DEFAULTS } from "../push/options.ts";
import { describeCache, describePruned } from "../report/describe-cache.ts";
import { readCache } from "../store/contents.ts";
import { type PruneRules, pruneCache } from "../store/prune.ts";
import { commandProgram } from "./add-flags.ts";
import { defineCommand } from "./command.ts";
import { parseArguments } from "./parse-arguments.ts";
import { assertNotEmpty, bytes, duration, type Environment, setting } from "./values.ts";

/** The command `cache`, or `cache prune`. */
export type CacheCommand = {
  readonly directory: string;
  readonly prune: PruneRules | undefined;
};

type Flags = {
  readonly cacheDir?: string;
  readonly olderThan?: string;
  readonly maxSize?: string;
  readonly all?: true;
  readonly dryRun?: true;
};

const NOTES = `
Without "prune", nothing is changed. "prune" needs one of --older-than,
--max-size and --all.

Examples:
  ${PROGRAM_NAME} cache
  ${PROGRAM_NAME} cache prune --older-than 30d --max-size 10GB
  ${PROGRAM_NAME} cache prune --all --dry-run`;

export const CACHE = defineCommand({
  program: cacheProgram,
  parse: parseCacheCommand,
  async run(command, { process }) {
    await runCache(command, process);
    return 0;
  },
});

/** Reads the arguments of `cache`, or returns its help text. Throws `USAGE`. */
export function parseCacheCommand(args: readonly string[], env: Environment): CacheCommand | string {
  const program = cacheProgram();
  const text = parseArguments(program, args, (error) =>
    error.code === "commander.excessArguments" ? notOfTheCache(args) : undefined,
  );
  if (text !== undefined) return text;
  const [action] = program.args;
  if (action !== undefined && action !== "prune") throw notOfTheCache(args);
  return cacheCommand(action === "prune", program.opts(), env);
}

function notOfTheCache(args: readonly string[]): PushError {
  if (args[0] === "prune")
    return new PushError("USAGE", '"cache prune" takes only flags.', {
      hint: `See: ${PROGRAM_NAME} help cache`,
    });
  return new PushError("USAGE", '"cache" takes only the word "prune".', {
    hint: `To push an image named "cache": ${PROGRAM_NAME} docker-daemon:cache TARGET`,
  });
}

/** Makes the parser of the command's arguments, which has the help as well. */
function cacheProgram(): Command {
  return commandProgram("cache", "[prune] [flags]")
    .description("Shows the compressed layers of earlier pushes, or removes them.")
    .argument("[action]", '"prune" removes compressed layers; a push that needs one recompresses it')
    .addOption(
      new Option(
        "--cache-dir <folder>",
        `folder of the cache (env: CHUNKPUSH_CACHE_DIR; default: ${DEFAULTS.cacheDirectory})`,
      ),
    )
    .addOption(
      new Option("--older-than <time>", "remove layers that were unused for this long: 12h, 30d, 2w"),
    )
    .addOption(new Option("--max-size <size>", "remove the longest unused layers, down to this size: 10GB"))
    .addOption(new Option("--all", "remove all layers"))
    .addOption(new Option("--dry-run", "remove nothing, and print what would be removed"))
    .addHelpText("after", NOTES);
}

function cacheCommand(isPrune: boolean, flags: Flags, env: Environment): CacheCommand {
  assertNotEmpty(flags.cacheDir, "--cache-dir");
  const rules = {
    all: flags.all ?? false,
    olderThanMs: duration({ name: "--older-than", text: flags.olderThan }),
    maxBytes: bytes({ name: "--max-size", text: flags.maxSize }),
  };
  const hasRules = rules.all || rules.olderThanMs !== undefined || rules.maxBytes !== undefined;
  if (isPrune && !hasRules) {
    throw new PushError("USAGE", "Specify what to prune.", {
      hint: "Add --older-than 30d, --max-size 10GB or --all.",
    });
  }
  if (!isPrune && (hasRules || flags.dryRun)) {
    throw new PushError("USAGE", 'These flags are for "cache prune".', {
      hint: `Use: ${PROGRAM_NAME} cache prune --older-than 30d`,
    });
  }
  const { text } = setting("--cache-dir", flags.cacheDir, "CHUNKPUSH_CACHE_DIR", env);
  return {
    directory: text ?? DEFAULTS.cacheDirectory,
    prune: isPrune ? { ...rules, dryRun: flags.dryRun ?? false } : undefined,
  };
}

/** Shows or prunes the cache. Throws the errors of `readCache` and `pruneCache`. */
async function runCache(
  { directory, prune }: CacheCommand,
  { stdout }: Pick<NodeJS.Process, "stdout">,
): Promise<void> {
  const lines =
    prune === undefined
      ? describeCache(await readCache(directory), new Date())
      : describePruned(await pruneCache(directory, prune, new Date()), prune.dryRun);
  for (const line of lines) stdout.write(`${toPrintable(line)}\n`);
}
