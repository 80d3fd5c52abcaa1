import { Command, CommanderError } from "commander";
import { closest } from "fastest-levenshtein";
import { PushError } from "../../errors.ts";
import { usageError } from "../usage-error.ts";
import bash from "./bash.txt" with { type: "text" };
import fish from "./fish.txt" with { type: "text" };
import zsh from "./zsh.txt" with { type: "text" };

/** The hidden command with which the scripts ask what to offer. No image has such a name. */
export const COMPLETE = "__complete";

const SCRIPTS: ReadonlyMap<string, string> = new Map(Object.entries({ bash, zsh, fish }));
export const SHELLS = [...SCRIPTS.keys()];

const NOTES = `
bash, in ~/.bashrc:
  eval "$(chunkpush completion bash)"

zsh, in ~/.zshrc, after compinit:
  eval "$(chunkpush completion zsh)"

fish, once:
  chunkpush completion fish > ~/.config/fish/completions/chunkpush.fish

TAB then completes commands, flags and their values, files, images that docker, podman and nerdctl have, and registries
that somebody has logged in to. It asks nothing of the network.`;

/**
 * Reads the command `completion`, and returns the shell's script or the help text. Undefined: it is a push, perhaps of
 * the engine's image "completion". Throws `USAGE`.
 */
export function parseCompletionCommand(args: readonly string[]): string | undefined {
  if (args[0] !== "completion") return undefined;
  let text = "";
  const program = completionProgram().configureOutput({
    writeOut: (out) => {
      text += out;
    },
    writeErr: () => {},
  });
  try {
    program.parse(args.slice(1), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return text;
    if (error.code === "commander.missingArgument") {
      throw new PushError("USAGE", "No shell was named.", { hint: "Name one of bash, zsh and fish." });
    }
    // Only a push has other arguments: no shell has a registry's path, and no flags but --help.
    if (args.slice(1).some((arg) => arg.includes("/"))) return undefined;
    throw usageError(error);
  }
  const [shell = ""] = program.args;
  if (shell.includes("/")) return undefined;
  const script = SCRIPTS.get(shell);
  if (script !== undefined) return script;
  throw new PushError("USAGE", `There is no completion for "${shell}", but for ${SHELLS.join(", ")}.`, {
    hint: `Did you mean "chunkpush completion ${closest(shell, SHELLS)}"?`,
  });
}

/** Makes the parser of the command's arguments, which also writes the help. */
export function completionProgram(): Command {
  return new Command("chunkpush completion")
    .description("Prints a script that makes TAB complete the command chunkpush.")
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText("after", NOTES)
    .exitOverride();
}
