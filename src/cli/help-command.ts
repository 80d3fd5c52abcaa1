import type { Command } from "commander";
import { PushError } from "../errors.ts";
import { commandLine, PROGRAM_NAME } from "../program-name.ts";
import { commandProgram } from "./add-flags.ts";
import { defineCommand, type NamedCommand } from "./command.ts";
import { explainCommand } from "./mistakes.ts";
import { parseArguments } from "./parse-arguments.ts";
import { pushProgram, TARGET_HELP } from "./push-program.ts";

/** The flags that the short help shows, of those that a push has. */
const COMMON_FLAGS = [
  "--tag",
  "--platform",
  "--username",
  "--password-stdin",
  "--insecure",
  "--chunk-size",
  "--parallel",
  "--cache-from",
  "--quiet",
  "--verbose",
];

/** Prints the help of a command, or the short help of them all. */
export const HELP = defineCommand<NamedCommand>({
  program: helpProgram,
  parse(args, _, { commands }) {
    const program = helpProgram();
    const text = parseArguments(program, args);
    if (text !== undefined) return text;
    const [written, ...more] = program.args;
    if (written === undefined) return shortHelp(commands);
    const name = written === "all" ? "push" : written;
    const names = commands.map((each) => each.name);
    const command = commands.find((each) => each.name === name);
    if (command !== undefined && more.length === 0) return command;
    if (command !== undefined)
      throw new PushError("USAGE", "More than one command was named.", {
        hint: `Name one: ${commandLine("help", written)}`,
      });
    const near = explainCommand(name, names)?.hint;
    throw new PushError("USAGE", `There is no command "${name}".`, {
      hint: [near, `The commands are ${names.join(", ")}.`].filter(Boolean).join(" "),
    });
  },
  async run(command, { process: { stdout } }) {
    const { program } = await command.load();
    stdout.write(parseArguments(program(), ["--help"]) ?? "");
    return 0;
  },
});

function helpProgram(): Command {
  return commandProgram("help", "[COMMAND]")
    .description('Shows the help of a command. "all" is the help of a push, with every flag.')
    .argument("[command]")
    .allowExcessArguments();
}

/** Returns what fits on a screen of 40 lines of 80 columns. */
function shortHelp(commands: readonly NamedCommand[]): string {
  const program = pushProgram();
  const flags = COMMON_FLAGS.flatMap((name) => program.options.filter(({ long }) => long === name));
  return `Pushes container images, in chunks, to registries that limit request sizes.

Usage: ${PROGRAM_NAME} [SOURCE] TARGET [flags]

Examples:
  ${PROGRAM_NAME} my/app:v1 registry.example.com/my/app:v1
  ${PROGRAM_NAME} image.tar localhost:8787/my/app:v1
  ${PROGRAM_NAME} registry.example.com/my/app:v1
Without SOURCE: output.tar or .output-image/, else the engine's image TARGET.

${TARGET_HELP}

Commands:
${columns(commands.map(({ name, summary }) => [name, summary]))}

Flags:
${columns(flags.map(({ flags: written, description }) => [written, clause(description)]))}
Every flag: ${PROGRAM_NAME} help all. A command: ${PROGRAM_NAME} help COMMAND
`;
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([first]) => first.length));
  return rows.map(([first, second]) => `  ${first.padEnd(width)}  ${second}`).join("\n");
}

/** Returns the beginning of a description that makes sense alone. */
export function clause(description: string): string {
  return description.split(/;| \(|, (?:which|whatever|such as) |\.(?= |$)/, 1)[0] ?? "";
}
