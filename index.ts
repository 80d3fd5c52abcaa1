#!/usr/bin/env bun
/**
 * chunkpush pushes a container image to a registry in chunks, for registries that refuse big request bodies.
 *
 * This file is the whole story: what a push does, step by step, and the only place that prints and exits.
 */
import packageJson from "./package.json" with { type: "json" };
import type { CacheCommand } from "./src/cli/cache-command.ts";
import { readCredentials } from "./src/cli/credentials.ts";
import { type PushCommand, parseInvocation } from "./src/cli/invocation.ts";
import { exemptLoopback } from "./src/cli/proxy.ts";
import { assertRuntime } from "./src/cli/runtime.ts";
import { exitCodeOf, messageOf, PushError } from "./src/errors.ts";
import { toPrintable } from "./src/format.ts";
import type { Descriptor } from "./src/oci/descriptor.ts";
import type { Digest } from "./src/oci/digest.ts";
import { manifestFor } from "./src/oci/manifest.ts";
import { formatReference, isLoopback } from "./src/oci/reference.ts";
import { startBlobPusher } from "./src/push/blob-pusher.ts";
import { usernameOf } from "./src/registry/auth/credentials.ts";
import { connect } from "./src/registry/connect.ts";
import { readTrust } from "./src/registry/http/trust.ts";
import { missingBlobs, putManifest } from "./src/registry/put-manifest.ts";
import { describeCache, describePruned } from "./src/report/describe-cache.ts";
import type { Report, Task } from "./src/report/events.ts";
import { plainReport } from "./src/report/plain.ts";
import { openSource, type Source } from "./src/source/open.ts";
import { rememberRepository } from "./src/store/blob-places.ts";
import { readCache } from "./src/store/contents.ts";
import { openLayerCache } from "./src/store/layers.ts";
import { CACHE_IN_USE, openLocks } from "./src/store/locks.ts";
import { pruneCache } from "./src/store/prune.ts";

/** The first retry comes after a second, the fifth after sixteen. */
const RETRY_DELAY_MS = 1000;

/** How long an interrupted push may take to leave everything in order. */
const FAREWELL_MS = 1500;

/**
 * Pushes an image: layers are compressed and uploaded side by side, the manifest comes last, when every blob is there.
 * A push that fails tags nothing.
 */
export async function push(command: PushCommand, report: Report, interrupt: AbortSignal): Promise<Digest> {
  const { target, retries } = command;
  const failure = new AbortController();
  const signal = AbortSignal.any([interrupt, failure.signal]);

  const login = await readCredentials(command, {
    signal,
    onWaiting: () => report({ type: "password-awaited" }),
  });
  const cache = await openLayerCache(command.cacheDirectory);
  const { directory } = cache;
  const locks = openLocks(directory, signal, (reason) =>
    report({ type: "locks-missing", directory, reason }),
  );
  using _inUse = await locks.take(CACHE_IN_USE, () => report({ type: "cache-awaited" }), "shared");
  const connecting = connect({
    target,
    credentials: login?.credentials,
    insecure: command.insecure,
    trust: await readTrust({ caFile: command.caFile, skipVerify: command.skipVerify, env: process.env }),
    parallel: command.parallel,
    chunkBytes: command.chunkBytes,
    stallTimeoutMs: command.stallTimeoutMs,
    memory: { directory, onFailure: reportOnce(report, directory) },
    retryPolicy: {
      retries,
      baseDelayMs: RETRY_DELAY_MS,
      signal,
      onRetry: ({ error, ...retry }) =>
        report({ type: "retrying", reason: messageOf(error), retries, ...retry }),
    },
    onAddressed: (origin) => {
      report({
        type: "registry-addressed",
        origin,
        username: login && usernameOf(login.credentials),
        credentialsFrom: login?.from,
        isExposed: login !== undefined && origin.startsWith("http:") && !isLoopback(target),
        isUnverified: command.skipVerify && origin.startsWith("https:"),
      });
    },
  });

  let unpacking: Task | undefined;
  await using resources = new AsyncDisposableStack();
  const opening = openSource({
    source: command.source,
    target,
    temporaryDirectory: directory,
    signal,
    onUnpacking(subject, doneBytes, totalBytes) {
      unpacking = { id: "open", verb: "unpacking", subject, totalBytes };
      report({ type: "task-progress", task: unpacking, doneBytes });
    },
  }).then((opened) => resources.use(opened));
  const [registry, source] = await allOrAbort([connecting, opening] as const, failure);
  if (unpacking !== undefined) {
    report({ type: "task-finished", task: unpacking, resultBytes: unpacking.totalBytes ?? 0 });
  }
  report({ type: "image-read", source: source.description, ...factsOf(source, command) });

  if (source.kind === "stored" && source.leftOut !== undefined)
    report({ type: "index-reduced", platform: source.image.platform, ...source.leftOut });

  using pusher = startBlobPusher(source, { command, registry, cache, locks, report });
  let [config, ...layers] = await allOrAbort(pusher.pushImage(), failure);
  const original = source.kind === "stored" ? source.image.manifest : undefined;
  let manifest = manifestFor(original, config, layers);
  try {
    await putManifest(registry, target.tag, manifest);
  } catch (error) {
    // serverless-registry with fallback registries says that it has what only those have.
    const missing = missingBlobs(error, pusher.believed());
    if (missing === undefined || missing.length === 0) throw error;
    const sent = await allOrAbort(pusher.sendAgain(missing), failure);
    const current = (blob: Descriptor) => sent[missing.indexOf(blob.digest)] ?? blob;
    [config, ...layers] = [current(config), ...layers.map(current)];
    manifest = manifestFor(original, config, layers);
    await putManifest(registry, target.tag, manifest);
  }
  await rememberRepository(
    registry,
    [config, ...layers].map(({ digest }) => digest),
  );
  report({ type: "pushed", reference: formatReference(target), digest: manifest.digest, ...pusher.count });
  return manifest.digest;
}

/** A folder that takes no notes takes none of the many that a push makes. */
function reportOnce(report: Report, directory: string): (reason: string) => void {
  let isTold = false;
  return (reason) => {
    if (!isTold) report({ type: "memory-failed", directory, reason });
    isTold = true;
  };
}

function factsOf(source: Source, command: PushCommand) {
  const { names, platform } = source.image;
  const isNamedOtherwise = !isNamedLike(names, command);
  if (source.kind === "engine") {
    const { diffIds, sizeBytes } = source.image;
    return { names, platform, layerCount: diffIds.length, layerBytes: sizeBytes, isNamedOtherwise };
  }
  const { layers } = source.image;
  const layerBytes = layers.reduce((bytes, layer) => bytes + layer.content.size, 0);
  return { names, platform, layerCount: layers.length, layerBytes, isNamedOtherwise };
}

/** Waits for all. The first failure ends the others, and is thrown once they have ended. */
async function allOrAbort<T extends readonly Promise<unknown>[]>(
  work: T,
  controller: AbortController,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  try {
    return await Promise.all(work);
  } catch (error) {
    controller.abort(error);
    await Promise.allSettled(work);
    throw error;
  }
}

/** A source without names, or whose name the user gave, cannot be mistaken for another. */
function isNamedLike(names: readonly string[], { source, target }: PushCommand): boolean {
  const name = `${target.repository}:${target.tag}`;
  // Engines leave Docker Hub's own folder out of names.
  const wanted = [formatReference(target), name, name.replace(/^library\//, "")];
  return source !== undefined || names.length === 0 || names.some((name) => wanted.includes(name));
}

/** Shows the cache, or prunes it. @returns lines for people */
async function tendCache({ directory, prune }: CacheCommand): Promise<string[]> {
  return prune === undefined
    ? describeCache(await readCache(directory), new Date())
    : describePruned(await pruneCache(directory, prune, new Date()), prune.dryRun);
}

async function main(): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort(
      new PushError("INTERRUPTED", "Interrupted. The same command goes on with what is in the cache."),
    );
    setTimeout(() => process.exit(130), FAREWELL_MS).unref();
  };
  // SIGHUP: the terminal was closed, or the connection to it lost.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, onSignal);

  try {
    assertRuntime(Bun.version);
    exemptLoopback(process.env);
    const invocation = parseInvocation(process.argv.slice(2), process.env, packageJson.version);
    if (invocation.kind === "text") {
      process.stdout.write(invocation.text);
      return 0;
    }
    if (invocation.kind === "cache") {
      for (const line of await tendCache(invocation.cache)) process.stdout.write(`${toPrintable(line)}\n`);
      return 0;
    }
    // Lines for people go to standard error; what was pushed, for scripts, to standard output.
    using lines = plainReport(
      (line) => process.stderr.write(`${toPrintable(line)}\n`),
      process.stderr.isTTY === true,
    );
    const digest = await push(invocation.push, lines.report, interrupt.signal);
    process.stdout.write(`${formatReference(invocation.push.target)}@${digest}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`${describeError(error)}\n`);
    return exitCodeOf(error);
  }
}

/** Lines that are safe for a terminal, whatever names and answers they quote. */
function describeError(error: unknown): string {
  const lines =
    error instanceof PushError
      ? [
          `${error.code === "INTERRUPTED" ? "" : "Error: "}${error.message}`,
          ...error.details.map((detail) => `  ${detail}`),
          ...(error.hint === undefined ? [] : [`  ${error.hint}`]),
        ]
      : [
          "This is a bug of chunkpush, and not your mistake. Please report it, with what follows:",
          ...String(error instanceof Error ? error.stack : error).split("\n"),
        ];
  return lines.map(toPrintable).join("\n");
}

if (import.meta.main) process.exit(await main());
