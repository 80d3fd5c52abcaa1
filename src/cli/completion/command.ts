import type { Command } from "commander";
import { closest } from "fastest-levenshtein";
import { PushError } from "../../errors.ts";
import { commandProgram } from "../add-flags.ts";
import { defineCommand } from "../command.ts";
import { parseArguments } from "../parse-arguments.ts";
import bash from "./bash.txt" with { type: "text" };
import fish from "./fish.txt" with { type: "text" };
import zsh from "./zsh.txt" with { type: "text" };

const SCRIPTS: ReadonlyMap<string, string> = new Map(Object.entries({ bash, zsh, fish }));
export const SHELLS = [...SCRIPTS.keys()];

const NOTES = `
bash, in ~/.bashrc:
  eval "$(chunkpush completion bash)"

zsh, in ~/.zshrc, after compinit:
  eval "$(chunkpush completion zsh)"

fish, once:
  chunkpush completion fish > ~/.config/fish/completions/chunkpush.fish

TAB then completes commands, flags and their values, files, images of docker,
podman and nerdctl, and registries with a login. It sends nothing.`;

export const COMPLETION = defineCommand<never>({
  program: completionProgram,
  parse: parseCompletionCommand,
  run: async () => 0,
});

/** Returns the shell's script, or the help text. Throws `USAGE`. */
export function parseCompletionCommand(args: readonly string[]): string {
  const program = completionProgram();
  const text = parseArguments(program, args, ({ code }) =>
    code === "commander.missingArgument"
      ? new PushError("USAGE", "No shell was named.", { hint: "Use bash, zsh or fish." })
      : undefined,
  );
  const [shell = ""] = program.args;
  const answer = text ?? SCRIPTS.get(shell);
  if (answer !== undefined) return answer;
  throw new PushError("USAGE", `There is no completion for "${shell}" (expected ${SHELLS.join(", ")}).`, {
    hint: `Did you mean "chunkpush completion ${closest(shell, SHELLS)}"?`,
  });
}

/** Makes the parser of the command's arguments, which has the help as well. */
function completionProgram(): Command {
  return commandProgram("completion", "SHELL")
    .description("Prints the script that completes chunkpush's arguments at TAB.")
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText("after", NOTES);
}
