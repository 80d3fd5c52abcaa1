import { type Command, CommanderError } from "commander";
import { PushError } from "../errors.ts";

/**
 * Parses arguments with a command's parser, which has them afterwards. Throws `USAGE`.
 *
 * @param explain finds better words for an error of commander's
 * @returns the help or version to print, if it was asked for
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
    throw explain?.(error) ?? usageError(error);
  }
}

/** Explains an error in the arguments, in better words than commander's where that helps. */
function usageError({ code, message }: CommanderError): PushError {
  if (code === "commander.excessArguments") {
    return new PushError("USAGE", "There are more arguments than a source and a target.", {
      hint: "See --help.",
    });
  }
  const [, said = message, nearest] = /^error: (.*?)(?:\n\(Did you mean (.*)\?\))?$/s.exec(message) ?? [];
  // The value of an unknown option may be a password. Show only the name.
  const shown = said.replace(/(unknown option '(?:--[^=']*|-[^-'])).*'/s, "$1'");
  return new PushError("USAGE", `${shown.charAt(0).toUpperCase()}${shown.slice(1)}.`, {
    hint: nearest === undefined ? "See --help." : `Did you mean ${nearest}?`,
  });
}
