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
  if (code === "commander.excessArguments") {
    // commander's message repeats the arguments, and one may be a password.
    const names = program.registeredArguments.map((each) => `a ${each.name()}`).join(" and ");
    return new PushError(
      "USAGE",
      `There are ${names ? `more arguments than ${names}` : "too many arguments"}.`,
      {
        hint: has(program, "--tag")
          ? "Name several targets with --tag: SOURCE --tag TARGET --tag TARGET"
          : "See --help.",
      },
    );
  }
  const [, said = message, nearest] = /^error: (.*?)(?:\n\(Did you mean (.*)\?\))?$/s.exec(message) ?? [];
  // Show only the option's name: its value may be a password.
  const shown = said.replace(/(unknown option '(?:--[^=']*|-[^-'])).*'/s, "$1'");
  return new PushError("USAGE", `${shown.charAt(0).toUpperCase()}${shown.slice(1)}.`, {
    hint:
      nearest !== undefined
        ? `Did you mean ${nearest}?`
        : ((has(program, "--username") ? ofOtherTools(shown, program) : undefined) ?? "See --help."),
  });
}

function has(program: Command, flag: string): boolean {
  return program.options.some(({ long }) => long === flag);
}

/** Finds our flag for one that Docker, Helm or curl have. */
function ofOtherTools(message: string, program: Command): string | undefined {
  const [, ...command] = program.name().split(" ");
  if (/'(?:--pass(?:word)?|-p)'/.test(message))
    return `Pipe the password in: echo "$PASSWORD" | ${commandLine(...command, "--username", "me")} …`;
  return message.includes("'--user'") ? "Did you mean --username?" : undefined;
}
