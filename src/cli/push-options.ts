import { stat } from "node:fs/promises";
import { PushError } from "../errors.ts";
import { formatPinned, formatReference, type Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushOptions, SourceStream } from "../push/options.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import type { Report } from "../report/events.ts";
import { credentialsReader } from "./credentials.ts";
import { STORAGE_READER } from "./hidden-commands.ts";
import type { PushCommand } from "./invocation.ts";
import { ownersUnderSudo } from "./owners.ts";
import type { Environment } from "./values.ts";

/** The default sources, looked for in the working folder. */
const DEFAULT_SOURCES = ["output.tar", ".output-image"];

/** Makes the options of a push from its command. Throws `USAGE` where the source is a terminal. */
export async function optionsOfPush(
  command: PushCommand,
  env: Environment,
  stop: AbortSignal,
  report: Report,
): Promise<PushOptions> {
  const {
    source,
    targets,
    username,
    password,
    passwordStdin,
    credentialCommand,
    skipAuth,
    debug,
    dryRun,
    ...options
  } = command;
  const [first] = targets;
  return {
    ...options,
    target: targets,
    source: source === "-" ? standardInput() : (source ?? (await findSource(first))),
    login: credentialsReader(command, first.host, {
      environment: env,
      signal: stop,
      onWaiting: () => report({ type: "notice", code: "PASSWORD_AWAITED" }),
    }),
    proxy: proxyFrom(env),
    engineEnvironment: env,
    storageReader: [process.execPath, ...(Bun.isStandaloneExecutable ? [] : [Bun.main]), STORAGE_READER],
    cacheOwners: ownersUnderSudo(env),
    report,
    stop,
  };
}

function standardInput(): SourceStream {
  if (process.stdin.isTTY) {
    throw new PushError("USAGE", "The source is standard input, which is a terminal.", {
      hint: `Pipe an archive in: podman save my/app:v1 | ${PROGRAM_NAME} - TARGET`,
    });
  }
  return { name: "standard input", stream: Bun.stdin.stream() };
}

/** An archive or folder in the working folder, or else the engine's image of the target's name. */
async function findSource(target: Reference): Promise<string> {
  for (const path of DEFAULT_SOURCES) {
    const isThere = await stat(path).then(
      () => true,
      // Opening it reports why it cannot be read.
      ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
    );
    if (isThere) return path;
  }
  // Engines look a name with a tag and a digest up by its digest, which an image gets when it is first pushed.
  return target.tag === undefined ? formatPinned(target) : formatReference(target);
}
