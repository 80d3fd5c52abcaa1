import { type Command, CommanderError } from "commander";
import { PushError } from "../errors.ts";
import { commandLine } from "../program-name.ts";

/**
 * Parses arguments into a command's parser. Throws `USAGE`.
 *
 * @param explain replaces an error of commander's by a clearer one
 * @returns the help or version to print, if the arguments ask for it
 */
export function parseArguments(
  program: Command,
  args: readonly string[],
  explain?: (error: CommanderError) => PushError | undefined,
): string | undefined {
  let text = "";
  program.exitOverride().configureOutput({
    writeOut: (out) => {
      text += out;
    },
    writeErr: () => {},
  });
  try {
    program.parse([...args], { from: "user" });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return text;
    throw explain?.(error) ?? usageError(error, program);
  }
}

/** Turns commander's error into one of ours, with clearer words where possible. */
function usageError({ code, message }: CommanderError, program: Command): PushError {
  const [, ...command] = program.name().split(" ");
  const help = `See: ${commandLine("help", ...(command.length > 0 ? command : ["all"]))}`;
  if (code === "commander.excessArguments") {
    // commander's message repeats the arguments, and one may be a password.
    const names = program.registeredArguments.map((each) => each.name());
    const allowed = names.length === 1 ? `one ${names[0]}` : names.map((name) => `a ${name}`).join(" and ");
    return new PushError("USAGE", `There are more arguments than ${allowed}.`, {
      hint: has(program, "--tag")
        ? "Name several targets with --tag: SOURCE --tag TARGET --tag TARGET"
        : help,
    });
  }
  const [, said = message, nearest] = /^error: (.*?)(?:\n\(Did you mean (.*)\?\))?$/s.exec(message) ?? [];
  // Show only the option's name: its value may be a password.
  const shown = said
    .replace(/(unknown option '(?:--[^=']*|-[^-'])).*'/s, "$1'")
    .replace(/^unknown option/, "unknown flag")
    .replace(/^option ('.*') argument missing$/, "the flag $1 needs a value");
  return new PushError("USAGE", `${shown.charAt(0).toUpperCase()}${shown.slice(1)}.`, {
    hint:
      nearest !== undefined
        ? `Did you mean ${nearest}?`
        : ((has(program, "--username") ? ofOtherTools(shown, program, command) : undefined) ?? help),
  });
}

function has(program: Command, flag: string): boolean {
  return program.options.some(({ long }) => long === flag);
}

/** Finds our flag for one that Docker, Helm or curl have. */
function ofOtherTools(message: string, program: Command, command: readonly string[]): string | undefined {
  if (/'(?:--pass(?:word)?|-p)'/.test(message)) {
    // Repeat no argument: one of them is the password.
    const names = program.registeredArguments.map((each) => each.name().toUpperCase());
    return `Leave it out to type the password, or pipe it in: echo "$PASSWORD" | ${commandLine(...command, "--username", "me", ...names)}`;
  }
  return message.includes("'--user'") ? "Did you mean --username?" : undefined;
}
