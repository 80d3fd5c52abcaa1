import type { Command } from "commander";
import { PushError } from "../errors.ts";
import type { Pushed, PushOptions } from "../push/options.ts";
import type { Environment } from "./values.ts";

export type Push = (options: PushOptions) => Promise<Pushed>;

/** A command of the table in commands.ts. */
export type NamedCommand = {
  /** The first argument. */
  readonly name: string;
  /** Its purpose, for help and completion: a clause without a period. */
  readonly summary: string;
  /** Loads the command's file, so that a push need not load the others. */
  readonly load: () => Promise<CommandProgram>;
};

export type CommandProgram = {
  /** Makes the parser. `help` prints its help, and completion offers its flags. */
  readonly program: () => Command;
  /** Runs the command with these arguments. @returns the exit code */
  readonly run: (args: readonly string[], context: CommandContext) => Promise<number>;
};

/** Everything that a command uses besides its arguments. */
export type CommandContext = {
  readonly process: NodeJS.Process;
  /** Aborts at SIGINT, SIGTERM and SIGHUP, with `INTERRUPTED`. */
  readonly stop: AbortSignal;
  readonly push: Push;
  readonly commands: readonly NamedCommand[];
  /** Prints the warnings about `.env` files. Commands that use a network, an engine or a login call it first. */
  readonly warn: () => void;
};

/**
 * Defines a command. `parse` reads the arguments after its name, or returns a text to print, such as the help. It throws
 * `USAGE` and `REFERENCE_INVALID`.
 */
export function defineCommand<T extends object>(parts: {
  readonly program: () => Command;
  readonly parse: (args: readonly string[], env: Environment, context: CommandContext) => T | string;
  readonly run: (command: T, context: CommandContext) => Promise<number>;
}): CommandProgram {
  return {
    program: parts.program,
    async run(args, context) {
      const { env, stdout } = context.process;
      const command = parts.parse(args, env, context);
      if (typeof command !== "string") return parts.run(command, context);
      stdout.write(command);
      return 0;
    },
  };
}

/** Handles the failure of a command that cannot resume: says so at an interrupt, and throws any other error again. */
export function interruptedAs(message: string, stop: AbortSignal) {
  return (error: unknown): never => {
    if (!stop.aborted) throw error;
    const { cause } = stop.reason as Error;
    throw new PushError("INTERRUPTED", `Interrupted: ${message}.`, { cause });
  };
}
