import pLimit from "p-limit";
import { uploadName } from "./cache/file-names.ts";
import type { Lock, Locks } from "./cache/lock.ts";
import type { PushCommand } from "./cli.ts";
import { RegistryError } from "./errors.ts";
import { startCompressPool } from "./layers/compress-pool.ts";
import type { LayerCache } from "./layers/layer-cache.ts";
import { isSound, type PreparedLayer, prepareLayer, repairLayer } from "./layers/prepare-layer.ts";
import type { Descriptor, RegistryBlob } from "./oci/descriptor.ts";
import { type Digest, shortDigest } from "./oci/digest.ts";
import type { Image, Layer } from "./oci/image.ts";
import { findBlob } from "./registry/find-blob.ts";
import type { Registry } from "./registry/registry.ts";
import { uploadBlob } from "./registry/upload-blob.ts";
import type { Report, Task } from "./report/event.ts";

export type BlobPusherOptions = {
  readonly command: PushCommand;
  readonly registry: Registry;
  readonly cache: LayerCache;
  readonly locks: Locks;
  readonly report: Report;
};

/** Brings the blobs of one image into a registry, and keeps count. */
export type BlobPusher = Disposable & {
  /** @returns the config's descriptor, then those of the layers, base first */
  pushImage(image: Image): readonly [Promise<Descriptor>, ...Promise<Descriptor>[]];
  /** Uploads blobs that the registry was mistaken to have. */
  sendAgain(digests: readonly Digest[]): Promise<Descriptor>[];
  /** What the registry said it has. It may be mistaken. */
  believed(): Digest[];
  readonly count: { sentBytes: number; presentBytes: number };
};

/**
 * Layers are compressed one after another, each on all cores; finished ones upload meanwhile. Equal layers are prepared
 * and uploaded once, and stand in the manifest as often as in the image.
 */
export function startBlobPusher({ command, registry, cache, locks, report }: BlobPusherOptions): BlobPusher {
  const { compression } = command;
  const pool = compression.kind === "none" ? undefined : startCompressPool(compression);
  const compressing = pLimit(1);
  const uploading = pLimit(command.parallel);
  const count = { sentBytes: 0, presentBytes: 0 };
  const believed = new Map<Digest, { readonly blob: RegistryBlob; readonly name: string }>();

  async function pushLayer(layer: Layer, name: string): Promise<Descriptor> {
    const verb = layer.compression === "none" && pool !== undefined ? "compressing" : "checking";
    const task: Task = { id: `prepare ${name}`, verb, subject: name, totalBytes: layer.content.size };
    const onProgress = (doneBytes: number) => report({ type: "task-progress", task, doneBytes });
    const onWaiting = () => report({ type: "other-push-awaited", subject: name, work: "compress" });
    const options = { cache, locks, pool, signal: registry.signal, onProgress, onWaiting };
    const reportPrepared = ({ origin, blob }: PreparedLayer) => {
      const { size } = blob.descriptor;
      if (origin === "cache") report({ type: "layer-cached", subject: name, sizeBytes: size });
      else report({ type: "task-finished", task, resultBytes: size });
    };

    const prepared = await compressing(() => prepareLayer(layer, options));
    reportPrepared(prepared);
    return uploading(async () => {
      {
        const { digest, size } = prepared.blob.descriptor;
        using _turn = await takeTurn(digest, name);
        const found = await findBlob(registryFor(name), digest);
        if (found?.sizeBytes === size) return noteBelieved(prepared.blob, name);
        // What an earlier push left is not trusted with a byte on the wire, nor with a size that the registry disagrees
        // with.
        if (await isSound(prepared, registry.signal)) {
          if (found !== undefined) return noteBelieved(prepared.blob, name);
          const sent = await sendSound(prepared, name);
          if (sent !== undefined) return sent;
        }
      }
      const sound = await repairLayer(layer, options);
      reportPrepared(sound);
      return sendUnlessPresent(sound.blob, name);
    });
  }

  /** Undefined: the bytes in the cache went bad while they were sent. The layer has to be made anew. */
  async function sendSound(prepared: PreparedLayer, name: string): Promise<Descriptor | undefined> {
    try {
      return await send(prepared.blob, name);
    } catch (error) {
      if (!mayBeFoundWrong(error)) throw error;
      const isStillSound = await isSound({ ...prepared, origin: "cache" }, registry.signal);
      // Then those at the registry are not what was sent.
      if (isStillSound && isFoundWrong(error)) return await send(prepared.blob, name);
      if (isStillSound || prepared.origin === "source") throw error;
      return undefined;
    }
  }

  /**
   * The pushes that share a cache send a blob to a repository one at a time: all but the first find it there. A turn
   * is over before anything else is waited for that another push may have.
   */
  function takeTurn(digest: Digest, name: string): Promise<Lock> {
    const onWaiting = () => report({ type: "other-push-awaited", subject: name, work: "upload" });
    return locks.take(uploadName(registry, digest), onWaiting);
  }

  async function sendUnlessPresent(blob: RegistryBlob, name: string): Promise<Descriptor> {
    using _turn = await takeTurn(blob.descriptor.digest, name);
    const found = await findBlob(registryFor(name), blob.descriptor.digest);
    return found === undefined ? await send(blob, name) : noteBelieved(blob, name);
  }

  async function sendAlone(blob: RegistryBlob, name: string): Promise<Descriptor> {
    using _turn = await takeTurn(blob.descriptor.digest, name);
    return await send(blob, name, false);
  }

  function noteBelieved(blob: RegistryBlob, name: string, mountedFrom?: string): Descriptor {
    const { digest, size } = blob.descriptor;
    believed.set(digest, { blob, name });
    report({ type: "blob-present", subject: name, sizeBytes: size, mountedFrom });
    count.presentBytes += size;
    return blob.descriptor;
  }

  async function send(blob: RegistryBlob, name: string, mayMount = true): Promise<Descriptor> {
    const { size } = blob.descriptor;
    const task: Task = { id: `upload ${name}`, verb: "uploading", subject: name, totalBytes: size };
    const onProgress = (doneBytes: number) => report({ type: "task-progress", task, doneBytes });
    const { resumedBytes, mountedFrom } = await uploadBlob(registryFor(name), blob, {
      chunkBytes: command.chunkBytes,
      allowOversize: command.allowOversize,
      mayMount,
      mountFrom: command.mountFrom,
      onProgress,
      onRefused: (bodyBytes) => report({ type: "body-refused", subject: name, bodyBytes }),
    });
    if (mountedFrom !== undefined) return noteBelieved(blob, name, mountedFrom);
    report({ type: "task-finished", task, resultBytes: size - resumedBytes });
    count.sentBytes += size - resumedBytes;
    count.presentBytes += resumedBytes;
    return blob.descriptor;
  }

  /** The same registry, whose retries say what they are about. */
  function registryFor(subject: string): Registry {
    const { retryPolicy } = registry;
    return {
      ...registry,
      retryPolicy: { ...retryPolicy, onRetry: (retry) => retryPolicy.onRetry({ ...retry, subject }) },
    };
  }

  return {
    pushImage({ config, layers }) {
      const pushed = new Map<string, Promise<Descriptor>>();
      const descriptors = layers.map((layer, i) => {
        const name = `layer ${i + 1}/${layers.length} ${shortDigest(layer.diffId)}`;
        const descriptor = pushed.get(identityOf(layer)) ?? pushLayer(layer, name);
        pushed.set(identityOf(layer), descriptor);
        return descriptor;
      });
      const configName = `config ${shortDigest(config.descriptor.digest)}`;
      return [uploading(() => sendUnlessPresent(config, configName)), ...descriptors];
    },
    sendAgain: (digests) =>
      digests.flatMap((digest) => {
        const mistaken = believed.get(digest);
        return mistaken === undefined ? [] : [uploading(() => sendAlone(mistaken.blob, mistaken.name))];
      }),
    believed: () => [...believed.keys()],
    count,
    [Symbol.dispose]: () => pool?.[Symbol.dispose](),
  };
}

/** The registry has put a blob together, and it is not what its digest says. */
function isFoundWrong(error: unknown): boolean {
  return error instanceof RegistryError && error.answer.specCodes.includes("DIGEST_INVALID");
}

/** serverless-registry says no more than 500 in that case. */
function mayBeFoundWrong(error: unknown): boolean {
  return isFoundWrong(error) || (error instanceof RegistryError && error.answer.status === 500);
}

/** A raw layer is what its diffID says; the same layer may be compressed in several ways. */
function identityOf({ diffId, compression, claimedDigest, name }: Layer): string {
  return compression === "none" ? diffId : `${diffId} ${claimedDigest ?? name}`;
}
