import type { CommanderError } from "commander";
import { PushError } from "../errors.ts";

/** Explains an error in the arguments, in better words than commander's where that helps. */
export function usageError({ code, message }: CommanderError): PushError {
  if (code === "commander.missingArgument") {
    return new PushError("USAGE", "No target was named.", {
      hint: "Say where the image goes: bun run index.ts registry.example.com/my/app:v1",
    });
  }
  if (code === "commander.excessArguments") {
    return new PushError("USAGE", "There are more arguments than a source and a target.", {
      hint: "See --help.",
    });
  }
  // The value of an unknown option may be a password. Show only the name.
  const shown = message.replace(/^error: /, "").replace(/(unknown option '(?:--[^=']*|-[^-'])).*'/s, "$1'");
  return new PushError("USAGE", shown, { hint: "See --help." });
}
