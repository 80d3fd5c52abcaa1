import { PushError } from "../errors.ts";
import { formatPinned, formatReference, type Reference } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import type { PushOptions, SourceStream } from "../push/options.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import type { Report } from "../report/events.ts";
import { credentialsReader } from "./credentials.ts";
import { findSource } from "./find-source.ts";
import { STORAGE_READER } from "./hidden-commands.ts";
import type { PushCommand } from "./invocation.ts";
import { ownersUnderSudo } from "./owners.ts";
import type { Environment } from "./values.ts";

/** Makes the options of a push, without questions to a person. Throws `USAGE` if the source is a terminal. */
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
    passwordIn,
    passwordStdin,
    authFile,
    credentialCommand,
    skipAuth,
    debug,
    dryRun,
    digestFile,
    progress,
    ...options
  } = command;
  const [first] = targets;
  const found = source ?? (await findSource());
  return {
    ...options,
    target: targets,
    source: found === "-" ? standardInput() : (found ?? nameOf(first)),
    login: credentialsReader(command, first.host, {
      environment: env,
      signal: stop,
      onNotice: (code) => report({ type: "notice", code }),
    }),
    onStale: source === undefined && found !== undefined ? "warn" : undefined,
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

/** Returns the engine's name for an image that is named as the target. */
function nameOf(target: Reference): string {
  // With a tag and a digest, engines look for the digest, which an image only has after its first push.
  return target.tag === undefined ? formatPinned(target) : formatReference(target);
}
