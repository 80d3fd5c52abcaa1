import { constants } from "node:os";
import { exitCodeOf, PushError, RESUME } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { LAST_CHUNK_MS } from "../registry/upload/chunk-size.ts";
import { workflowCommand } from "../report/github.ts";
import { jsonError, jsonWarning } from "../report/json.ts";
import type { NamedCommand, Push } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { settleEnvironment } from "./env-files.ts";
import { COMPLETE, STORAGE_READER } from "./hidden-commands.ts";
import { wantsJson } from "./progress.ts";
import { assertRuntime } from "./runtime.ts";
import { VERSION } from "./version.ts";

/** The time that an interrupted push has to let chunks end and to clean up. */
const FAREWELL_MS = LAST_CHUNK_MS + 1500;

/** More lines would hide the message above them. */
const SHOWN_DETAILS = 50;

/** Runs the command that the arguments name, and describes its failure. @returns the exit code */
export async function runCommand(
  args: readonly string[],
  process: NodeJS.Process,
  push: Push,
): Promise<number> {
  if (args[0] === STORAGE_READER) {
    const { runStorageReader } = await import("./storage-command.ts");
    return runStorageReader(process);
  }
  if (args[0] === COMPLETE) {
    const { runComplete } = await import("./completion/complete.ts");
    return runComplete(args.slice(1), process);
  }
  const { stdout, stderr } = process;
  const stop = interruptOf(process);
  // Arguments after "--" are another program's.
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  let isJson = wantsJson(own, process.env);
  try {
    assertRuntime(Bun.version);
    if (args[0] === "--version" || args[0] === "-V") {
      stdout.write(`${VERSION}\n`);
      return 0;
    }
    const warnings = settleEnvironment(process);
    isJson = wantsJson(own, process.env);
    const warn = () => {
      for (const warning of warnings)
        stderr.write(`${isJson ? jsonWarning(warning) : toPrintable(warning)}\n`);
    };
    const { command, rest } = commandOf(args);
    const { run } = await command.load();
    return await run(rest, { process, stop, push, commands: COMMANDS, warn });
  } catch (error) {
    const code = exitCodeOf(error);
    const exitCode = code === 130 && stop.aborted ? signalCode(stop.reason.cause) : code;
    const isDebug = ["--debug", "--verbose", "-v"].some((flag) => own.includes(flag));
    stderr.write(`${isJson ? jsonError(error, exitCode) : failureText(error, isDebug, process.env)}\n`);
    return exitCode;
  } finally {
    await Promise.all([flushed(stdout), flushed(stderr)]);
  }
}

/** Returns the command that the first argument names, or else `push`, or `help` if the arguments ask for it. */
function commandOf(args: readonly string[]): { command: NamedCommand; rest: readonly string[] } {
  const find = (wanted: string | undefined) => COMMANDS.find(({ name }) => name === wanted);
  const named = find(args[0]);
  if (named !== undefined) return { command: named, rest: args.slice(1) };
  const help = args.findIndex((arg) => arg === "-h" || arg === "--help");
  const isHelp = help >= 0 && !args.slice(0, help).includes("--");
  const rest = isHelp ? args.slice(help + 1).filter((arg) => arg === "all") : args;
  return { command: find(isHelp ? "help" : "push") as NamedCommand, rest };
}

/** Waits until a pipe's reader has everything or has gone. Output that is queued at the exit would be lost. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.end(() => resolve()));
}

/** Aborts at the first SIGINT, SIGTERM or SIGHUP, its cause. A second one, or a slow end, exits at once. */
function interruptOf(process: NodeJS.Process): AbortSignal {
  const interrupt = new AbortController();
  const onSignal = (cause: NodeJS.Signals) => {
    if (interrupt.signal.aborted) process.exit(signalCode(cause));
    interrupt.abort(new PushError("INTERRUPTED", `Interrupted. ${RESUME}`, { cause }));
    setTimeout(() => process.exit(signalCode(cause)), FAREWELL_MS).unref();
  };
  // SIGHUP: the terminal was closed, or its connection was lost.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, onSignal);
  return interrupt.signal;
}

/** Returns the exit code that shells use for a process ended by this signal: 129, 130 or 143. */
function signalCode(name: NodeJS.Signals): number {
  return 128 + constants.signals[name];
}

/** Formats an error for people, or as a command of GitHub Actions, which shows it beside the job. */
function failureText(error: unknown, isDebug: boolean, env: NodeJS.ProcessEnv): string {
  const text = describeError(error, isDebug);
  if (env["GITHUB_ACTIONS"] !== "true" || !(error instanceof PushError)) return text;
  return workflowCommand("error", text.replace(/^Error: /, ""), { title: `chunkpush: ${error.code}` });
}

/** Formats an error in lines that are safe for a terminal, whatever they quote. */
function describeError(error: unknown, isDebug: boolean): string {
  const lines =
    error instanceof PushError
      ? [
          error.code === "INTERRUPTED" ? error.message : `Error: ${error.message} [${error.code}]`,
          ...listDetails(error.details).map((detail) => `  ${detail}`),
          ...(isDebug && error.said !== undefined ? [`  ${error.said}`] : []),
          ...(error.hint === undefined ? [] : [`  ${error.hint}`]),
        ]
      : [
          "This is a bug in chunkpush. Please report it with these lines:",
          ...String(error instanceof Error ? error.stack : error).split("\n"),
        ];
  return lines.map(toPrintable).join("\n");
}

/** Cuts a list of details: an archive may contain thousands of images. */
function listDetails(details: readonly string[]): readonly string[] {
  const more = details.length - SHOWN_DETAILS;
  return more > 0 ? [...details.slice(0, SHOWN_DETAILS), `and ${more} more`] : details;
}
