import { cliCommand } from "../support/run-cli.ts";
import { type CommandOptions, type CommandResult, run } from "./command.ts";

/** Runs chunkpush as a user does, in a folder of its own, with nothing of this process's environment but PATH. */
export function chunkpush(
  args: readonly string[],
  options: CommandOptions & { readonly cwd: string },
): Promise<CommandResult> {
  return run(cliCommand(args), {
    ...options,
    env: { HOME: options.cwd, ...options.env },
  });
}

/** The same, with a file's bytes coming through a pipe. */
export function chunkpushFromPipe(
  file: string,
  args: readonly string[],
  options: CommandOptions & { readonly cwd: string },
): Promise<CommandResult> {
  return run(["sh", "-c", 'cat "$0" | "$@"', file, ...cliCommand(args)], {
    ...options,
    env: { HOME: options.cwd, ...options.env },
  });
}
