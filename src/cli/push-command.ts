import { stat } from "node:fs/promises";
import { PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { formatPinned, formatReference, type Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushOptions, SourceStream } from "../push/options.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import type { PushEvent, Report } from "../report/events.ts";
import { plainReport } from "../report/plain.ts";
import { chooseImage, pausablePrinter } from "./choose.ts";
import { defineCommand, type Push } from "./command.ts";
import { credentialsReader } from "./credentials.ts";
import { STORAGE_READER } from "./hidden-commands.ts";
import { type PushCommand, parsePush } from "./invocation.ts";
import { ownersUnderSudo } from "./owners.ts";
import { pushProgram } from "./push-program.ts";
import type { Environment } from "./values.ts";

export const PUSH = defineCommand({
  program: pushProgram,
  parse: parsePush,
  async run(command, { process, push, stop, warn }) {
    warn();
    if (command.dryRun) await (await import("./plan-command.ts")).runPlan(command, false, process, stop);
    else await runPush(command, push, process, stop);
    return 0;
  },
});

/**
 * Pushes an image as the command says. People are told on standard error, and scripts get the reference and digest on
 * standard output. Throws what `push` throws.
 */
export async function runPush(
  command: PushCommand,
  push: Push,
  { stdout, stderr, env }: Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment },
  stop: AbortSignal,
): Promise<void> {
  const { source, debug } = command;
  const printer = pausablePrinter((line) => stderr.write(`${toPrintable(line)}\n`));
  using lines = plainReport(printer.print, {
    isTerminal: stderr.isTTY === true,
    isSourceNamed: source !== undefined,
    isDebug: debug,
  });
  const { report } = lines;
  const actions =
    env["GITHUB_ACTIONS"] === "true"
      ? (await import("./github-actions.ts")).actionsFiles(env, printer.print)
      : undefined;
  const tagged: string[] = [];
  const reported = (event: PushEvent) => {
    report(event);
    actions?.report(event);
    if (event.type === "pushed") tagged.push(`${event.reference}@${event.digest}\n`);
  };
  const pushOptions: PushOptions = {
    ...(await optionsOfPush(command, env, stop, reported)),
    choose:
      process.stdin.isTTY && stderr.isTTY
        ? (choices, signal) => printer.pauseFor(chooseImage(choices, signal))
        : undefined,
  };
  try {
    const pushed = await push(pushOptions);
    await actions?.writeOutputs(pushed);
  } finally {
    // If a later target fails, scripts learn what is tagged all the same.
    for (const line of tagged) stdout.write(line);
    await actions?.writeSummary();
  }
}
