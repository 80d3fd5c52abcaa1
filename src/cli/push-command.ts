import { stat } from "node:fs/promises";
import { PushError } from "../errors.ts";
import { formatPinned, formatReference, type Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushOptions, SourceStream } from "../push/options.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import { chooseImage, confirm } from "./choose.ts";
import { defineCommand, type Push } from "./command.ts";
import { credentialsReader } from "./credentials.ts";
import { STORAGE_READER } from "./hidden-commands.ts";
import { type PushCommand, parsePush } from "./invocation.ts";
import { ownersUnderSudo } from "./owners.ts";
import { openView } from "./progress.ts";
import { pushProgram } from "./push-program.ts";
import type { Environment } from "./values.ts";

export const PUSH = defineCommand({
  program: pushProgram,
  parse: parsePush,
  async run(command, { process, push, stop, warn }) {
    warn();
    await runPush(command, push, process, stop);
    return 0;
  },
});

/** The default sources, looked for in the working folder. */
const DEFAULT_SOURCES = ["output.tar", ".output-image"];

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
    passwordIn,
    passwordStdin,
    authFile,
    credentialCommand,
    skipAuth,
    debug,
    progress,
    ...options
  } = command;
  const [first] = targets;
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
  const found = source ?? (await findSource());
  const isPerson = process.stdin.isTTY && stderr.isTTY;
  const pushOptions: PushOptions = {
    ...options,
    target: targets,
    source: found === "-" ? standardInput() : (found ?? nameOf(first)),
    login: credentialsReader(command, first.host, {
      environment: env,
      signal: stop,
      onNotice: (code) => report({ type: "notice", code }),
    }),
    choose: isPerson ? (choices, signal) => view.pauseFor(chooseImage(choices, signal)) : undefined,
    onStale:
      source !== undefined || found === undefined
        ? undefined
        : isPerson
          ? (signal) => view.pauseFor(confirm(`Push "${found}" anyway?`, signal))
          : "warn",
    proxy: proxyFrom(env),
    engineEnvironment: env,
    storageReader: [process.execPath, ...(Bun.isStandaloneExecutable ? [] : [Bun.main]), STORAGE_READER],
    cacheOwners: ownersUnderSudo(env),
    report(event) {
      report(event);
      actions?.report(event);
      if (event.type === "pushed") tagged.push(`${event.reference}@${event.digest}\n`);
    },
    stop,
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

function standardInput(): SourceStream {
  if (process.stdin.isTTY) {
    throw new PushError("USAGE", "The source is standard input, which is a terminal.", {
      hint: `Pipe an archive in: podman save my/app:v1 | ${PROGRAM_NAME} - TARGET`,
    });
  }
  return { name: "standard input", stream: Bun.stdin.stream() };
}

/** Finds an archive or folder in the working folder. */
async function findSource(): Promise<string | undefined> {
  for (const path of DEFAULT_SOURCES) {
    const isThere = await stat(path).then(
      () => true,
      // Opening it reports why it cannot be read.
      ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
    );
    if (isThere) return path;
  }
  return undefined;
}

/** The engine's image of the target's name. */
function nameOf(target: Reference): string {
  // Engines look a name with a tag and a digest up by its digest, which an image gets when it is first pushed.
  return target.tag === undefined ? formatPinned(target) : formatReference(target);
}
