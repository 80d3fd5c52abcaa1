#!/usr/bin/env bun
/**
 * chunkpush pushes a container image to a registry in chunks, for registries that refuse big request bodies.
 *
 * This file is the whole story: what a push does, step by step, and the only place that prints and exits.
 */
import pLimit from "p-limit";
import packageJson from "./package.json" with { type: "json" };
import { type PushCommand, parseInvocation } from "./src/cli.ts";
import { readCredentials } from "./src/credentials.ts";
import { exitCodeOf, messageOf, PushError } from "./src/errors.ts";
import { toPrintable } from "./src/format.ts";
import { GZIP_LEVEL } from "./src/layers/compress-layer.ts";
import { startGzipPool } from "./src/layers/gzip-pool.ts";
import { openLayerCache } from "./src/layers/layer-cache.ts";
import { prepareLayer, repairLayer } from "./src/layers/prepare-layer.ts";
import type { Descriptor, RegistryBlob } from "./src/oci/descriptor.ts";
import { type DiffId, type Digest, shortDigest } from "./src/oci/digest.ts";
import type { Layer } from "./src/oci/image.ts";
import { manifestFor } from "./src/oci/manifest.ts";
import { formatReference, isLoopback } from "./src/oci/reference.ts";
import { connect } from "./src/registry/connect.ts";
import { usernameOf } from "./src/registry/credentials.ts";
import { findBlob } from "./src/registry/find-blob.ts";
import { missingBlobs, putManifest } from "./src/registry/put-manifest.ts";
import { uploadBlob } from "./src/registry/upload-blob.ts";
import type { Report, Task } from "./src/report/event.ts";
import { plainReport } from "./src/report/plain.ts";
import { assertRuntime } from "./src/runtime.ts";
import { openSource } from "./src/source/open-source.ts";

/** The first retry comes after a second, the fifth after sixteen. */
const RETRY_DELAY_MS = 1000;

/**
 * Pushes an image: layers are compressed one after another, on all cores, and go up while the next one is
 * compressed. The manifest comes last, when every blob is there: a push that fails tags nothing.
 */
export async function push(command: PushCommand, report: Report, interrupt: AbortSignal): Promise<Digest> {
  const { target, parallel, chunkBytes, allowOversize } = command;
  const failure = new AbortController();
  const signal = AbortSignal.any([interrupt, failure.signal]);

  const login = await readCredentials(command, {
    signal,
    onWaiting: () => report({ type: "password-awaited" }),
  });
  const cache = await openLayerCache(command.cacheDirectory);
  const registry = await connect({
    target,
    credentials: login?.credentials,
    insecure: command.insecure,
    parallel,
    stallTimeoutMs: command.stallTimeoutMs,
    memoryDirectory: cache.directory,
    retryPolicy: {
      retries: command.retries,
      baseDelayMs: RETRY_DELAY_MS,
      signal,
      onRetry: ({ error, attempt, delayMs }) =>
        report({ type: "retrying", reason: messageOf(error), attempt, retries: command.retries, delayMs }),
    },
  });
  report({
    type: "registry-reached",
    origin: registry.origin,
    username: login && usernameOf(login.credentials),
    credentialsFrom: login?.from,
    isExposed: login !== undefined && registry.origin.startsWith("http:") && !isLoopback(target),
  });

  let opening: Task | undefined;
  await using source = await openSource({
    source: command.source,
    target,
    temporaryDirectory: cache.directory,
    signal,
    onProgress(verb, subject, doneBytes, totalBytes) {
      opening = { id: "open", verb, subject, totalBytes };
      report({ type: "task-progress", task: opening, doneBytes });
    },
  });
  if (opening !== undefined)
    report({ type: "task-finished", task: opening, resultBytes: opening.totalBytes });
  const { image } = source;
  report({
    type: "image-read",
    source: source.description,
    names: image.names,
    platform: image.platform,
    layerCount: image.layers.length,
    layerBytes: image.layers.reduce((bytes, layer) => bytes + layer.content.size, 0),
    isNamedOtherwise: !isNamedLike(image.names, command),
  });

  using pool = startGzipPool(GZIP_LEVEL);
  const compressing = pLimit(1);
  const uploading = pLimit(parallel);
  const sum = { sentBytes: 0, presentBytes: 0 };
  /** What the registry said it has. It may be mistaken. */
  const believed = new Map<Digest, { readonly blob: RegistryBlob; readonly name: string }>();

  async function pushLayer(layer: Layer, name: string): Promise<Descriptor> {
    const task: Task = {
      id: `prepare ${name}`,
      verb: layer.compression === "none" ? "compressing" : "checking",
      subject: name,
      totalBytes: layer.content.size,
    };
    const options = {
      cache,
      pool,
      signal,
      onProgress: (doneBytes: number) => report({ type: "task-progress", task, doneBytes }),
    };
    let prepared = await compressing(() => prepareLayer(layer, options));
    const { size } = prepared.blob.descriptor;
    if (prepared.origin === "cache") report({ type: "layer-cached", subject: name, sizeBytes: size });
    else report({ type: "task-finished", task, resultBytes: size });

    return uploading(async () => {
      let found = await findBlob(registry, prepared.blob.descriptor.digest);
      if (found?.sizeBytes !== size) {
        // What an earlier push left is not trusted with a byte on the wire, nor with a size that the registry
        // disagrees with.
        const repaired = await repairLayer(layer, prepared, options);
        if (repaired !== prepared) {
          report({ type: "task-finished", task, resultBytes: repaired.blob.descriptor.size });
          found = await findBlob(registry, repaired.blob.descriptor.digest);
        }
        prepared = repaired;
      }
      return sendBlob(prepared.blob, name, found !== undefined);
    });
  }

  async function pushConfig({ descriptor, content }: RegistryBlob): Promise<Descriptor> {
    return uploading(async () => {
      const found = await findBlob(registry, descriptor.digest);
      return sendBlob(
        { descriptor, content },
        `config ${shortDigest(descriptor.digest)}`,
        found !== undefined,
      );
    });
  }

  async function sendBlob(blob: RegistryBlob, name: string, isPresent: boolean): Promise<Descriptor> {
    const { size } = blob.descriptor;
    if (isPresent) {
      report({ type: "blob-present", subject: name, sizeBytes: size });
      sum.presentBytes += size;
      believed.set(blob.descriptor.digest, { blob, name });
    } else {
      const task: Task = { id: `upload ${name}`, verb: "uploading", subject: name, totalBytes: size };
      const onProgress = (doneBytes: number) => report({ type: "task-progress", task, doneBytes });
      onProgress(0);
      await uploadBlob(registry, blob, {
        chunkBytes,
        allowOversize,
        onProgress,
        onShrink: (smallerBytes) =>
          report({ type: "chunks-shrunk", subject: name, chunkBytes: smallerBytes }),
      });
      report({ type: "task-finished", task, resultBytes: size });
      sum.sentBytes += size;
    }
    return blob.descriptor;
  }

  // Equal layers are prepared and uploaded once, and stand in the manifest as often as in the image.
  const pushed = new Map<DiffId, Promise<Descriptor>>();
  const layers = image.layers.map((layer, i) => {
    const name = `layer ${i + 1}/${image.layers.length} ${shortDigest(layer.diffId)}`;
    const descriptor = pushed.get(layer.diffId) ?? pushLayer(layer, name);
    pushed.set(layer.diffId, descriptor);
    return descriptor;
  });
  const [config, ...descriptors] = await allOrAbort([pushConfig(image.config), ...layers], failure);

  const manifest = manifestFor(image.manifest, config ?? image.config.descriptor, descriptors);
  try {
    await putManifest(registry, target.tag, manifest);
  } catch (error) {
    // serverless-registry with fallback registries says that it has what only those have.
    const missing = missingBlobs(error, [...believed.keys()])?.flatMap(
      (digest) => believed.get(digest) ?? [],
    );
    if (missing === undefined || missing.length === 0) throw error;
    await allOrAbort(
      missing.map(({ blob, name }) => uploading(() => sendBlob(blob, name, false))),
      failure,
    );
    await putManifest(registry, target.tag, manifest);
  }
  report({ type: "pushed", reference: formatReference(target), digest: manifest.digest, ...sum });
  return manifest.digest;
}

/** Waits for all. The first failure ends the others, and is thrown once they have ended. */
async function allOrAbort<T>(work: readonly Promise<T>[], controller: AbortController): Promise<T[]> {
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

async function main(): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort(
      new PushError("INTERRUPTED", "Interrupted. The same command goes on with what is in the cache."),
    );
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);

  try {
    assertRuntime(Bun.version);
    const invocation = parseInvocation(process.argv.slice(2), process.env, packageJson.version);
    if (invocation.kind === "text") {
      process.stdout.write(invocation.text);
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
    process.stderr.write(`${toPrintable(describeError(error))}\n`);
    return exitCodeOf(error);
  }
}

function describeError(error: unknown): string {
  if (error instanceof PushError) {
    return `${error.code === "INTERRUPTED" ? "" : "Error: "}${error.message}${error.hint === undefined ? "" : `\n  ${error.hint}`}`;
  }
  const stack = error instanceof Error ? error.stack : String(error);
  return `This is a bug of chunkpush, and not your mistake. Please report it, with what follows:\n${stack}`;
}

if (import.meta.main) process.exit(await main());
