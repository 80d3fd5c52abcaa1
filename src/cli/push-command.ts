import { messageOf, PushError, RESUME } from "../errors.ts";
import { formatShare } from "../format.ts";
import { formatPinned } from "../oci/reference.ts";
import type { Pushed, PushOptions } from "../push/options.ts";
import { chooseImage, confirm, mayAsk } from "./choose.ts";
import { defineCommand, type Push } from "./command.ts";
import { assertWritable, writeDigest } from "./digest-file.ts";
import { type PushCommand, parseTargetless } from "./invocation.ts";
import { rememberTargets } from "./last-targets.ts";
import { openView } from "./progress.ts";
import { optionsOfPush } from "./push-options.ts";
import { pushProgram } from "./push-program.ts";
import type { Environment } from "./values.ts";
import { withTarget } from "./with-target.ts";

export const PUSH = defineCommand({
  program: pushProgram,
  parse: parseTargetless,
  async run(parsed, { process, push, stop, warn, commands }) {
    warn();
    try {
      const command = await withTarget(parsed, process, stop);
      if (command.dryRun) await (await import("./plan-command.ts")).runPlan(command, false, process, stop);
      else await runPush(command, push, process, stop);
      return 0;
    } catch (error) {
      const { orCommand } = await import("./mistakes.ts");
      throw orCommand(
        error,
        parsed.source,
        commands.map(({ name }) => name),
      );
    }
  },
});

/**
 * Runs the command. Progress goes to standard error, the reference and digest to standard output. Throws the errors of
 * `push`.
 */
export async function runPush(
  command: PushCommand,
  push: Push,
  { stdout, stderr, env }: Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment },
  stop: AbortSignal,
): Promise<void> {
  const { targets, debug, digestFile } = command;
  using view = await openView(
    command.progress,
    { stderr, env },
    { targets: targets.map(formatPinned), isDebug: debug },
  );
  const { report } = view;
  const actions =
    env["GITHUB_ACTIONS"] === "true"
      ? (await import("./github-actions.ts")).actionsFiles(env, view.print)
      : undefined;
  if (digestFile !== undefined) await assertWritable(digestFile);
  const tagged: string[] = [];
  let kept: string | undefined;
  const options = await optionsOfPush(command, env, stop, (event) => {
    report(event);
    actions?.report(event);
    if (event.type === "pushed") tagged.push(`${event.reference}@${event.digest}\n`);
    if (event.type === "notice" && event.code === "STOPPED")
      kept = formatShare(event.keptBytes, event.totalBytes);
  });
  const { source, onStale } = options;
  const pushOptions: PushOptions = {
    ...options,
    ...(mayAsk({ stderr, env }, command.progress) && {
      choose: (choices, signal) => view.pauseFor(chooseImage(choices, signal)),
      onStale:
        onStale &&
        (async (signal) => (await view.pauseFor(confirm(`Push "${source}" anyway?`, signal))) ?? true),
    }),
  };
  let pushed: Pushed;
  try {
    pushed = await push(pushOptions);
    await actions?.writeOutputs(pushed);
    await rememberTargets(targets, env).catch((error: unknown) => {
      if (debug) view.print(`Cannot save the targets for the next push: ${messageOf(error)}`);
    });
  } catch (error) {
    if (kept === undefined || !(error instanceof PushError && error.code === "INTERRUPTED")) throw error;
    const { code, cause } = error;
    throw new PushError(code, `Interrupted: ${kept} are safe at the registry.`, { hint: RESUME, cause });
  } finally {
    // On a terminal, the digest follows below the last frame.
    view[Symbol.dispose]();
    // Scripts get the tagged targets even if a later one fails.
    for (const line of tagged) stdout.write(line);
    await actions?.writeSummary();
  }
  // Last: it may fail, and standard output, which it may be, would overwrite it.
  if (digestFile !== undefined) await writeDigest(digestFile, pushed.digest);
}
