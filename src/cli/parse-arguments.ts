import { type Command, CommanderError } from "commander";
import { PushError } from "../errors.ts";

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
    throw explain?.(error) ?? usageError(error);
  }
}

/** Turns commander's error into one of ours, with clearer words where possible. */
function usageError({ code, message }: CommanderError): PushError {
  if (code === "commander.excessArguments") {
    return new PushError("USAGE", "There are more arguments than a source and a target.", {
      hint: "See --help.",
    });
  }
  const [, said = message, nearest] = /^error: (.*?)(?:\n\(Did you mean (.*)\?\))?$/s.exec(message) ?? [];
  // Show only the option's name: its value may be a password.
  const shown = said.replace(/(unknown option '(?:--[^=']*|-[^-'])).*'/s, "$1'");
  return new PushError("USAGE", `${shown.charAt(0).toUpperCase()}${shown.slice(1)}.`, {
    hint: nearest === undefined ? "See --help." : `Did you mean ${nearest}?`,
  });
}
