import type { Command } from "commander";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushOptions } from "../push/options.ts";
import { addFlags, commandProgram, type FlagHelp } from "./add-flags.ts";
import { runtimeName } from "./invocation.ts";
import { parseArguments } from "./parse-arguments.ts";
import { assertNotEmpty, type Environment, setting } from "./values.ts";

/** The command `save`. */
export type SaveCommand = {
  /** None: a person chooses. */
  readonly images: readonly string[];
  readonly directory: string;
  readonly force: boolean;
  readonly runtime: PushOptions["runtime"];
};

type Flags = { readonly outputDir?: string; readonly force?: true; readonly runtime?: string };

const FLAGS: readonly FlagHelp[] = [
  ["--output-dir <folder>", "the folder for the archives, made if missing (default: the current folder)"],
  ["--force", "replace existing files"],
  [
    "--runtime <name>",
    "the engine to ask: docker, podman or nerdctl (env: CHUNKPUSH_RUNTIME; default: the first that has the image)",
  ],
];

const NOTES = `
Each image gets a file of its own, named after it: nginx:latest is saved as
nginx_latest.tar. Without an image, a terminal shows a list to choose from.

Examples:
  ${PROGRAM_NAME} save nginx:latest
  ${PROGRAM_NAME} save my/app:v1 my/app:v2 --output-dir archives`;

/** Reads the arguments of `save`, or returns its help text. Throws `USAGE`. */
export function parseSaveCommand(args: readonly string[], env: Environment): SaveCommand | string {
  const program = saveProgram();
  const text = parseArguments(program, args);
  if (text !== undefined) return text;
  const flags: Flags = program.opts();
  for (const image of program.args) assertNotEmpty(image, "An image's name");
  assertNotEmpty(flags.outputDir, "--output-dir");
  return {
    images: program.args,
    directory: flags.outputDir ?? ".",
    force: flags.force ?? false,
    runtime: runtimeName(setting("--runtime", flags.runtime, "CHUNKPUSH_RUNTIME", env)),
  };
}

/** Makes the parser of the command's arguments, which also writes the help. */
export function saveProgram(): Command {
  const program = commandProgram("save", "[IMAGE…] [flags]")
    .description("Saves images of docker, podman or nerdctl to archives, which can be pushed from anywhere.")
    .argument("[image...]", "the images to save");
  return addFlags(program, "Archives", FLAGS).addHelpText("after", NOTES);
}
