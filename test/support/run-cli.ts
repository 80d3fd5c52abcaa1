import { join, resolve } from "node:path";
import { type CommandResult, run } from "./command.ts";

const ROOT = join(import.meta.dir, "../..");

/** An executable of chunkpush, to be tested instead of the sources. */
const EXECUTABLE = process.env["CHUNKPUSH_TEST_COMMAND"];

/** How messages name the command. */
export const PROGRAM = EXECUTABLE ? "chunkpush" : "bun run index.ts";

export type CliOptions = {
  /** The folder to run in, which is the home, too. */
  readonly cwd: string;
  /** Variables in place of this process's own, of which only PATH is kept. */
  readonly env?: Readonly<Record<string, string>>;
  /** What is piped in. Undefined: nothing, and the pipe is closed. */
  readonly input?: string | Uint8Array<ArrayBuffer>;
};

export type CliResult = CommandResult;

/** The command that runs chunkpush, for whoever starts it in another way. */
export function cliCommand(args: readonly string[]): string[] {
  if (EXECUTABLE) return [resolve(ROOT, EXECUTABLE), ...args];
  return [process.execPath, "run", join(ROOT, "index.ts"), ...args];
}

export function cliEnvironment({ cwd, env }: CliOptions): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", HOME: cwd, ...env };
}

/** Runs chunkpush as a user does, to its end. */
export function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  return run(cliCommand(args), { ...options, env: cliEnvironment(options) });
}

/** The same, with a file's bytes coming through a pipe. */
export function runCliFromPipe(
  file: string,
  args: readonly string[],
  options: CliOptions,
): Promise<CliResult> {
  const command = ["sh", "-c", 'cat "$0" | "$@"', file, ...cliCommand(args)];
  return run(command, { ...options, env: cliEnvironment(options) });
}

/** Starts chunkpush with a standard input that stays open. */
export function startCli(args: readonly string[], options: Omit<CliOptions, "input">) {
  return Bun.spawn(cliCommand(args), {
    cwd: options.cwd,
    env: cliEnvironment(options),
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
}
