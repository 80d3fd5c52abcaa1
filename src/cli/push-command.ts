import { messageOf, PushError } from "../errors.ts";
import { formatShare } from "../format.ts";
import { formatPinned, formatReference, type Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushOptions, SourceStream } from "../push/options.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import { chooseImage, confirm } from "./choose.ts";
import { defineCommand, type Push } from "./command.ts";
import { credentialsReader } from "./credentials.ts";
import { findSource } from "./find-source.ts";
import { STORAGE_READER } from "./hidden-commands.ts";
import { type PushCommand, parseTargetless, type Targetless } from "./invocation.ts";
import { rememberTargets } from "./last-targets.ts";
import { ownersUnderSudo } from "./owners.ts";
import { openView } from "./progress.ts";
import { pushProgram } from "./push-program.ts";
import type { Environment } from "./values.ts";

export const PUSH = defineCommand({
  program: pushProgram,
  parse: parseTargetless,
  async run(parsed, { process, push, stop, warn }) {
    warn();
    const command = "targets" in parsed ? parsed : await completePush(parsed, process, stop);
    await runPush(command, push, process, stop);
    return 0;
  },
});

/** Few pushes name no target, and the others start faster without. */
async function completePush(
  parsed: Targetless,
  process: NodeJS.Process,
  stop: AbortSignal,
): Promise<PushCommand> {
  return (await import("./choose-target.ts")).chooseTarget(parsed, process, stop);
}

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
  const {
    source,
    targets,
    username,
    password,
    passwordStdin,
    credentialCommand,
    skipAuth,
    debug,
    progress,
    ...options
  } = command;
  const [first] = targets;
  const isTerminal = stderr.isTTY === true;
  using view = await openView(
    progress,
    { stderr, env },
    { targets: targets.map(formatPinned), isDebug: debug },
  );
  const { report } = view;
  const actions =
    env["GITHUB_ACTIONS"] === "true"
      ? (await import("./github-actions.ts")).actionsFiles(env, view.print)
      : undefined;
  const tagged: string[] = [];
  let kept: string | undefined;
  const found = source ?? (await findSource());
  const pushOptions: PushOptions = {
    ...options,
    target: targets,
    source: found === "-" ? standardInput() : (found ?? nameOf(first)),
    login: credentialsReader(command, first.host, {
      environment: env,
      signal: stop,
      onWaiting: () => report({ type: "notice", code: "PASSWORD_AWAITED" }),
    }),
    choose: isTerminal ? (choices, signal) => view.pauseFor(chooseImage(choices, signal)) : undefined,
    onStale: source === undefined && found !== undefined ? whetherStale(found, isTerminal, view) : undefined,
    proxy: proxyFrom(env),
    engineEnvironment: env,
    storageReader: [process.execPath, ...(Bun.isStandaloneExecutable ? [] : [Bun.main]), STORAGE_READER],
    cacheOwners: ownersUnderSudo(env),
    report(event) {
      report(event);
      actions?.report(event);
      if (event.type === "pushed") tagged.push(`${event.reference}@${event.digest}\n`);
      if (event.type === "notice" && event.code === "STOPPED")
        kept = formatShare(event.keptBytes, event.totalBytes);
    },
    stop,
  };
  try {
    const pushed = await push(pushOptions);
    await actions?.writeOutputs(pushed);
    await rememberTargets(targets, env).catch((error: unknown) => {
      if (debug) view.print(`Cannot save the targets for the next push: ${messageOf(error)}`);
    });
  } catch (error) {
    if (kept === undefined || !(error instanceof PushError && error.code === "INTERRUPTED")) throw error;
    const { code, cause } = error;
    const message = `Interrupted: ${kept} are safe at the registry. Run the same command to resume.`;
    throw new PushError(code, message, { cause });
  } finally {
    // If a later target fails, scripts learn what is tagged all the same.
    for (const line of tagged) stdout.write(line);
    await actions?.writeSummary();
  }
}

/** Asks whether to push a stale source. Where nobody can be asked, the warning has to do. */
function whetherStale(
  source: string,
  isTerminal: boolean,
  view: Pick<Awaited<ReturnType<typeof openView>>, "pauseFor">,
): PushOptions["onStale"] {
  if (!isTerminal) return "warn";
  return async (signal) => (await view.pauseFor(confirm(`Push "${source}" anyway?`, signal))) ?? true;
}

function standardInput(): SourceStream {
  if (process.stdin.isTTY) {
    throw new PushError("USAGE", "The source is standard input, which is a terminal.", {
      hint: `Pipe an archive in: podman save my/app:v1 | ${PROGRAM_NAME} - TARGET`,
    });
  }
  return { name: "standard input", stream: Bun.stdin.stream() };
}

/** The engine's image of the target's name. */
function nameOf(target: Reference): string {
  // Engines look a name with a tag and a digest up by its digest, which an image gets when it is first pushed.
  return target.tag === undefined ? formatPinned(target) : formatReference(target);
}
