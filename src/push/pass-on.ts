import { RegistryError } from "../errors.ts";
import { MANIFEST_TYPES } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { formatReference } from "../oci/reference.ts";
import type { ProxyServer } from "../proxy/proxy.ts";
import { findManifest } from "../registry/find-manifest.ts";
import type { Engine, EngineImage } from "../source/engine/docker.ts";
import { unguessableName } from "../source/engine/own-names.ts";
import { type EnginePush, isEngineNear, pushEngineImage, removeLeftovers } from "../source/engine/push.ts";
import type { Source, StreamSource } from "../source/open.ts";
import { findCachedDocument } from "../store/documents.ts";
import { callOf, type Job } from "./job.ts";
import type { Pushed } from "./publish.ts";
import type { Target } from "./target.ts";

/** The engine's blobs are sent as they come: what waits for the registry is little. */
const SPOOL_BYTES = 10_000_000_000;

/** Engines give up after some minutes. What they have sent goes on its way all the same, and is there the next time. */
const MAX_PUSHES = 5;

/**
 * Has an engine push the image itself, to a registry of this process that passes it on in chunks. That is faster than a
 * save, and brings the whole of an index with its attestations. Undefined: the image has to be saved. Throws what the
 * registry refused.
 */
export async function passOn(source: Source, target: Target, job: Job): Promise<Pushed | undefined> {
  if (source.access !== "once") return undefined;
  const reason = await whyNot(source, job);
  if (reason !== undefined) return saves(job, reason);
  const { image } = source;
  const { tag } = job.options.target;
  const found = await findManifest(target.at, tag, MANIFEST_TYPES, callOf(job));
  if (found === image.id) return passed(image.id, job);

  job.report({ type: "notice", code: "ENGINE_PUSHES" });
  const raw = new AbortController();
  const onBlob = (start: Uint8Array) => {
    if (job.pool !== undefined && isTar(start)) raw.abort(new Error("A layer is not compressed."));
  };
  const repository = unguessableName();
  await using server = await listen(repository, onBlob, target, job);
  const engine = { ...source.engine, signal: AbortSignal.any([source.engine.signal, raw.signal]) };
  const name = `127.0.0.1:${server.port}/${repository}:${tag}`;
  const pushing = pushPatiently(image, name, engine, server).catch((error: unknown) => {
    if (error !== raw.signal.reason) throw error;
  });
  const [push] = await job.all([pushing, removeLeftovers(source.engine)]);
  if (push === undefined) return saves(job, "a layer is not compressed, and chunkpush does that.");
  if (push.digest !== undefined) return passed(push.digest, job);
  const { refusal, isAsked } = server.told();
  if (isManifestRefused(refusal)) return saves(job, "the registry refuses the manifest of the engine.");
  if (refusal !== undefined) throw refusal;
  return saves(job, isAsked ? push.said.trim() : "it does not reach this process.");
}

/** Tells whether a registry takes OCI's manifests alone: zot answers 415 to Docker's. A save is pushed with an OCI manifest. */
function isManifestRefused(refusal: unknown): boolean {
  if (!(refusal instanceof RegistryError)) return false;
  const { status, specCodes } = refusal.answer;
  return status === 415 || (status === 400 && specCodes.includes("MANIFEST_INVALID"));
}

/** Tells whether a blob is an uncompressed layer. */
function isTar(start: Uint8Array): boolean {
  return Buffer.from(start.subarray(257, 262)).toString("latin1") === "ustar";
}

/** Says why an image has to be saved. */
async function whyNot({ image, engine }: StreamSource, { cache }: Job): Promise<string | undefined> {
  if (!image.isContainerd) return "its store has layers uncompressed, and chunkpush compresses faster.";
  // It would lose its only name, and with it the image.
  if (image.names.length === 0) return "the image has no name.";
  if ((await findCachedDocument(cache, image.id)) !== undefined) return "an earlier push has saved it.";
  return (await isEngineNear(engine)) ? undefined : "the engine is on another machine.";
}

function saves(job: Job, reason: string): undefined {
  job.report({ type: "notice", code: "ENGINE_SAVES", reason });
}

async function listen(
  repository: string,
  onBlob: (start: Uint8Array) => void,
  { at }: Target,
  job: Job,
): Promise<ProxyServer> {
  const { target, chunkBytes, allowOversize } = job.options;
  // Other pushes start faster without.
  const { startProxy } = await import("../proxy/proxy.ts");
  return startProxy({
    registry: at.registry,
    host: target.host,
    locks: job.locks,
    repositoryOf: (name) => (name === repository ? at.name : undefined),
    readOnly: false,
    onBlob,
    spoolDirectory: job.cache.directory,
    spoolLimitBytes: SPOOL_BYTES,
    port: 0,
    chunkBytes,
    allowOversize,
    signal: job.signal,
    abort: job.abort,
    report(event) {
      if (event.type === "pushed") return;
      if (event.type === "blob" && event.state === "done") {
        if (event.how === "sent") job.count.sentBytes += event.sentBytes;
        else job.count.presentBytes += event.sizeBytes ?? 0;
      }
      job.report(event);
    },
  });
}

/** Has the engine push again where it has given up while its blobs were still on their way. */
async function pushPatiently(
  image: EngineImage,
  name: string,
  engine: Engine,
  server: ProxyServer,
): Promise<EnginePush> {
  for (let pushes = 1; ; pushes++) {
    const push = await pushEngineImage(image, name, engine);
    const { refusal } = server.told();
    if (push.digest !== undefined || refusal !== undefined || !server.isBusy() || pushes >= MAX_PUSHES)
      return push;
    await server.settled();
  }
}

function passed(digest: Digest, job: Job): Pushed {
  const pushed = { reference: formatReference(job.options.target), digest, ...job.count };
  job.report({ type: "pushed", ...pushed, durationMs: performance.now() - job.startedMs });
  return pushed;
}
