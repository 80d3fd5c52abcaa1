import type { CommanderError } from "commander";
import { PushError } from "../errors.ts";

/** Explains an error in the arguments, in better words than commander's where that helps. */
export function usageError({ code, message }: CommanderError): PushError {
  if (code === "commander.excessArguments") {
    return new PushError("USAGE", "There are more arguments than a source and a target.", {
      hint: "See --help.",
    });
  }
  // The value of an unknown option may be a password. Show only the name.
  const shown = message.replace(/^error: /, "").replace(/(unknown option '(?:--[^=']*|-[^-'])).*'/s, "$1'");
  return new PushError("USAGE", shown, { hint: "See --help." });
}
