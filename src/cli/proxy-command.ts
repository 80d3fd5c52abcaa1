import { mkdir } from "node:fs/promises";
import { constants } from "node:os";
import { fileError, messageOf, PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { canonicalRepository } from "../oci/reference.ts";
import { type ProxyServer, startProxy } from "../proxy/proxy.ts";
import { useCache } from "../push/open-cache.ts";
import { DEFAULTS } from "../push/options.ts";
import { connectRegistry } from "../push/target.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import type { Report } from "../report/events.ts";
import { plainView } from "../report/plain.ts";
import { retryEvent } from "../report/retry-event.ts";
import type { Retry } from "../retry.ts";
import { CACHE_IN_USE, type Lock, openLocks } from "../store/locks.ts";
import { PRIVATE_FOLDER } from "../store/own-file.ts";
import { sweepTemporaryFiles } from "../store/temporary-file.ts";
import { defineCommand } from "./command.ts";
import { credentialsReader } from "./credentials.ts";
import { ownersUnderSudo } from "./owners.ts";
import { type ProxyCommand, parseProxyCommand, proxyProgram } from "./proxy-program.ts";
import type { Environment } from "./values.ts";

const DEFAULT_PORT = 5050;

export const PROXY = defineCommand({
  program: proxyProgram,
  parse: parseProxyCommand,
  async run(command, { process, stop, warn }) {
    warn();
    return runProxy(command, process, stop);
  },
});

/** The events that are shown on a terminal while a command writes to it as well. */
const BESIDE_A_COMMAND = ["registry", "retry", "notice", "pushed"];

/**
 * Runs a proxy until it is stopped, or as long as a command runs. Throws the errors of connecting and listening, and
 * `INTERRUPTED` if a push was cut off.
 *
 * @returns the exit code: the command's, or 1 if a blob was lost
 */
async function runProxy(
  command: ProxyCommand,
  { stderr, env }: Pick<NodeJS.Process, "stderr"> & { readonly env: Environment },
  stop: AbortSignal,
): Promise<number> {
  const isTerminal = stderr.isTTY === true;
  const writeLine = (line: string) => stderr.write(`${toPrintable(line)}\n`);
  const isDebug = command.debug;
  using lines = plainView((line) => stderr.write(`${line}\n`), {
    isTerminal,
    isDebug,
    isProxy: true,
  });
  const isBeside = command.command.length > 0 && isTerminal;
  const report: Report = (event) => {
    if (!isBeside || BESIDE_A_COMMAND.includes(event.type)) lines.report(event);
  };
  await using proxy = await openProxy(command, env, report, stop);
  let isCutOff = false;
  stop.addEventListener("abort", () => {
    isCutOff = proxy.isBusy();
  });
  let exitCode = 0;
  if (command.command.length > 0) exitCode = await runBeside(command.command, proxy, env, isTerminal, stop);
  else {
    for (const line of greeting(proxy.port, command.target.host, process.platform)) writeLine(line);
    await aborted(stop);
  }
  const failures = await proxy.settled();
  for (const { message } of failures) writeLine(`Error: ${message}`);
  if (exitCode !== 0) return exitCode;
  if (isCutOff)
    throw new PushError(
      "INTERRUPTED",
      "Interrupted in the middle of a push. Start the proxy again, and repeat the push.",
    );
  return failures.length > 0 ? 1 : 0;
}

async function openProxy(
  command: ProxyCommand,
  env: Environment,
  report: Report,
  signal: AbortSignal,
): Promise<ProxyServer> {
  const { target, allow, cacheDirectory, spoolDirectory = cacheDirectory } = command;
  const readCredentials = credentialsReader(command, target.host, {
    environment: env,
    signal,
    onNotice: (code) => report({ type: "notice", code }),
  });
  const login = await readCredentials({ host: target.host, repository: "" });
  const options = {
    ...command,
    login,
    cacheOwners: ownersUnderSudo(env),
    proxy: proxyFrom(env),
    retryDelayMs: DEFAULTS.retryDelayMs,
    report,
  };
  const { cache, locks, inUse } = await useCache(options, signal);
  const onRetry = (retry: Retry) => report(retryEvent(retry));
  const registry = await connectRegistry(options, cache, { signal, onRetry });
  const spoolInUse = await useSpool(spoolDirectory, signal);
  const proxy = startProxy({
    ...options,
    registry,
    host: target.host,
    locks,
    repositoryOf: (name) => servedRepository(target.host, allow, name),
    spoolDirectory,
    port: command.port ?? (command.command.length > 0 ? 0 : DEFAULT_PORT),
    signal,
  });
  return {
    ...proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      spoolInUse[Symbol.dispose]();
      inUse[Symbol.dispose]();
    },
  };
}

/** Opens the spool, and removes temporary files of killed processes. Throws `FILE_FAILED`. */
async function useSpool(directory: string, signal: AbortSignal): Promise<Lock> {
  try {
    await mkdir(directory, { recursive: true, mode: PRIVATE_FOLDER });
    await sweepTemporaryFiles(directory);
  } catch (cause) {
    throw fileError(cause, `use the spool "${directory}"`, "choose another folder with --spool-dir");
  }
  // Without locks, no other process sweeps the folder.
  return openLocks(directory, signal, () => {}).take(CACHE_IN_USE, () => {}, "shared");
}

/**
 * Returns the registry's repository for a client's name. Undefined if there are prefixes and it begins with none of
 * them. At Docker Hub, `alpine` and `library/alpine` are the same.
 */
export function servedRepository(host: string, allow: readonly string[], name: string): string | undefined {
  const repository = canonicalRepository(host, name);
  const begins = (prefix: string) => (each: string) =>
    each === prefix || each.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
  return allow.length === 0 || allow.some((prefix) => [name, repository].some(begins(prefix)))
    ? repository
    : undefined;
}

/** Says how to push. Docker Desktop's engine runs in a virtual machine, which has another name for this machine. */
function greeting(port: number, host: string, platform: string): string[] {
  const name = platform === "linux" ? "localhost" : "host.docker.internal";
  return [
    `Listening on 127.0.0.1:${port} for ${host}. Push with: docker push ${name}:${port}/my/app:v1`,
    ...(platform === "linux"
      ? []
      : [`Docker Desktop wants "${name}:${port}" in "insecure-registries" of its engine's settings.`]),
  ];
}

/** Runs a command beside the proxy, whose address replaces `{}`. @returns its exit code */
async function runBeside(
  command: readonly string[],
  { port }: ProxyServer,
  env: Environment,
  isTerminal: boolean,
  stop: AbortSignal,
): Promise<number> {
  const [name = "", ...args] = command.map((part) => part.replaceAll("{}", `localhost:${port}`));
  const path = Bun.which(name, { PATH: env["PATH"] ?? "" });
  if (path === null)
    throw new PushError("USAGE", `There is no command "${name}" on PATH.`, {
      hint: 'Check the spelling of the command after "--".',
    });
  // The command does not get the registry's password: only the proxy needs it.
  const { REGISTRY_JWT_TOKEN: _, CHUNKPUSH_CREDENTIAL_COMMAND: __, CHUNKPUSH_HEADERS: ___, ...rest } = env;
  const child = spawn([path, ...args], name, rest);
  const onStop = () => {
    const signal = stop.reason.cause as NodeJS.Signals;
    // At a terminal, Ctrl-C reaches the command anyway. A second signal may end it too soon.
    if (!isTerminal || signal !== "SIGINT") child.kill(signal);
  };
  stop.addEventListener("abort", onStop);
  await child.exited;
  stop.removeEventListener("abort", onStop);
  const { exitCode, signalCode } = child;
  return exitCode ?? 128 + (constants.signals[signalCode as NodeJS.Signals] ?? 0);
}

function spawn(command: readonly string[], name: string, env: Environment) {
  try {
    return Bun.spawn([...command], { env, stdio: ["inherit", "inherit", "inherit"] });
  } catch (cause) {
    throw new PushError("USAGE", `The command "${name}" cannot be run: ${messageOf(cause)}`, { cause });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
