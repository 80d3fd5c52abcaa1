import { PushError, RegistryError } from "../errors.ts";
import { compressionOfType } from "../oci/descriptor.ts";
import { type Digest, shortDigest } from "../oci/digest.ts";
import { tagOrDigest } from "../oci/reference.ts";
import type { Client } from "../proxy/context.ts";
import { isFrom } from "../proxy/peer.ts";
import type { ProxyServer } from "../proxy/proxy.ts";
import { readTagged } from "../registry/read-tagged.ts";
import type { Engine } from "../source/engine/engine.ts";
import type { EngineImage } from "../source/engine/inspect.ts";
import { unguessableName } from "../source/engine/own-names.ts";
import { type EnginePush, isEngineNear, pushEngineImage, removeLeftovers } from "../source/engine/push.ts";
import type { OpenedSource, SavedSource } from "../source/source.ts";
import { findCachedDocument } from "../store/documents.ts";
import { callOf, type Job, reportPushed } from "./job.ts";
import type { Pushed } from "./options.ts";
import { present } from "./send.ts";
import type { Target } from "./target.ts";

/** The limit of the spool. It stays small, since the engine's blobs are sent as they arrive. */
const SPOOL_BYTES = 10_000_000_000;

/** Engines give up after some minutes. Their blobs are still sent, and are present at the next try. */
const MAX_PUSHES = 5;

/**
 * Has an engine push the image itself, to a proxy of this process that passes it on in chunks. That is faster than a save.
 * Undefined if the image has to be saved. Throws the registry's refusal.
 */
export async function passOn(source: OpenedSource, target: Target, job: Job): Promise<Pushed | undefined> {
  if (source.access !== "save") return undefined;
  const { image, engine } = source;
  if (!image.isContainerd)
    return saveInstead(job, "its store has layers uncompressed, and chunkpush compresses faster.");
  if (engine.runtime !== "docker") return saveInstead(job, `${engine.runtime} is not asked to push.`);
  // Without another name, the engine would remove the image together with the temporary name.
  if (image.names.length === 0) return saveInstead(job, "the image has no name.");
  const [digest] = await job.all([engage(source, target, job), removeLeftovers(engine)]);
  if (digest === undefined) return undefined;
  return reportPushed(job, digest);
}

/** Returns the digest that the registry has under the tag in the end. Undefined if the image has to be saved. */
async function engage(source: SavedSource, target: Target, job: Job): Promise<Digest | undefined> {
  const { image } = source;
  if ((await findCachedDocument(job.cache, image.id)) !== undefined)
    return saveInstead(job, "an earlier push has saved it.");
  const { target: reference, image: named, platforms, allPlatforms, forceCompression } = job.options;
  if (named !== undefined || platforms.length > 0 || allPlatforms || forceCompression)
    return saveInstead(job, "the command chooses an image or platforms, or recompresses layers.");
  // The engine may push a part of an index, which gets the tag before its digest can be checked.
  if (reference.digest !== undefined) return saveInstead(job, "the target names a digest.");
  const tag = tagOrDigest(reference);
  const [isNear, tagged] = await job.all([
    isEngineNear(source.engine),
    readTagged(target.at, tag, image.id, callOf(job)),
  ]);
  if (!isNear) return saveInstead(job, "the engine is on another machine.");
  const isRaw = (mediaType: string | undefined) =>
    job.pool !== undefined && compressionOfType(mediaType) === "none";
  if (tagged !== undefined && !tagged.some(({ mediaType }) => isRaw(mediaType))) {
    for (const blob of tagged)
      present(blob, { id: blob.digest, title: `blob ${shortDigest(blob.digest)}` }, job);
    return image.id;
  }

  job.report({ type: "notice", code: "ENGINE_PUSHES" });
  const raw = new AbortController();
  const repository = unguessableName();
  const users = [0, process.getuid?.() ?? 0];
  await using server = await listen(repository, target, job, async ({ method, headers, url }, client) => {
    // Other users can see the repository's name in the list of processes, but no upload's ID. HEAD changes nothing.
    const isOpen = method === "HEAD" || /\/blobs\/uploads\/[^/?]+/.test(url);
    if (!isOpen && !(await isFrom(users, client.fromPort, client.toPort))) return true;
    // Engines ask for a blob before they send it, with its type in the Accept header.
    if (method === "HEAD" && isRaw(headers.get("accept")?.split(",")[0]))
      raw.abort(new Error("A layer is not compressed."));
    return raw.signal.aborted;
  });
  const engine = { ...source.engine, signal: AbortSignal.any([source.engine.signal, raw.signal]) };
  const name = `127.0.0.1:${server.port}/${repository}:${tag}`;
  const push = await pushPatiently(image, name, engine, server).catch((error: unknown) => {
    if (error !== raw.signal.reason) throw error;
  });
  if (push === undefined) return saveInstead(job, "a layer is not compressed, and chunkpush does that.");
  const { refusal, isAsked } = server.told();
  // If the engine has another loopback interface, it may have reached another registry.
  if (push.digest !== undefined && isAsked) {
    // The image's ID is the digest of its index. An engine that lacks a part of the index pushes one image of it.
    const { platform } = image;
    if (push.digest !== image.id)
      job.report({ type: "notice", code: "INDEX_REDUCED", platform, platforms: [], attestations: 0 });
    return push.digest;
  }
  if (refusal !== undefined && !maySave(refusal)) throw refusal;
  if (refusal instanceof PushError) return saveInstead(job, refusal.message);
  return saveInstead(job, isAsked ? push.said : `it does not reach this process. ${push.said}`);
}

/**
 * Tells whether a save may succeed after a refusal: zot answers 415 to Docker's manifests, and a save is pushed with an OCI
 * manifest. For a full disk, a save gives the better message.
 */
function maySave(refusal: unknown): boolean {
  if (!(refusal instanceof RegistryError))
    return refusal instanceof PushError && refusal.code === "FILE_FAILED";
  const { status, specCodes } = refusal.answer;
  return status === 415 || (status === 400 && specCodes.includes("MANIFEST_INVALID"));
}

/** Reports why the image is saved. */
function saveInstead(job: Job, reason: string): undefined {
  job.report({ type: "notice", code: "ENGINE_SAVES", reason: reason.trim().replaceAll(/\s+/g, " ") });
}

async function listen(
  repository: string,
  { at }: Target,
  job: Job,
  isRefused: (request: Request, client: Client) => Promise<boolean>,
): Promise<ProxyServer> {
  const { target, chunkBytes, allowOversize, cacheFrom } = job.options;
  // Other pushes do not load this code.
  const { startProxy } = await import("../proxy/proxy.ts");
  return startProxy({
    registry: at.registry,
    host: target.host,
    locks: job.locks,
    repositoryOf: (name) => (name === repository ? at.name : undefined),
    readOnly: false,
    mountFrom: cacheFrom.map((image) => image.repository),
    isRefused,
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
        const { sizeBytes = 0 } = event;
        const sentBytes = event.how === "sent" ? event.sentBytes : 0;
        job.count.sentBytes += sentBytes;
        job.count.presentBytes += Math.max(0, sizeBytes - sentBytes);
      }
      // The proxy's titles include the repository.
      const isTitled = "title" in event && event.title !== undefined;
      job.report(isTitled ? { ...event, title: event.title.replace(`${at.name} `, "blob ") } : event);
    },
  });
}

/** Has the engine push again if it gave up while blobs were still on their way. */
async function pushPatiently(
  image: EngineImage,
  name: string,
  engine: Engine,
  server: ProxyServer,
): Promise<EnginePush> {
  for (let pushes = 1; ; pushes++) {
    const push = await pushEngineImage(image, name, engine);
    const { refusal } = server.told();
    const isSlow =
      refusal === undefined ? server.isBusy() : refusal instanceof PushError && refusal.code === "STALLED";
    if (push.digest !== undefined || !isSlow || pushes >= MAX_PUSHES) return push;
    await server.settled();
  }
}
