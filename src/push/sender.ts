import { setImmediate } from "node:timers/promises";
import pLimit from "p-limit";
import type { PushCommand } from "../cli/invocation.ts";
import { RegistryError } from "../errors.ts";
import type { BlobGuard } from "../layers/guard.ts";
import { isSound, type PreparedLayer } from "../layers/prepare.ts";
import type { Descriptor, RegistryBlob } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { findBlob } from "../registry/find-blob.ts";
import type { Registry } from "../registry/registry.ts";
import { uploadBlob } from "../registry/upload/upload-blob.ts";
import type { Report, Task } from "../report/events.ts";
import { uploadName } from "../store/file-names.ts";
import type { Lock, Locks } from "../store/locks.ts";
import { largestFirst } from "./largest-first.ts";

/** How many blobs are asked for at a time: the questions are small, and an image may have a hundred layers. */
const QUESTIONS = 16;

export type BlobSenderOptions = {
  readonly command: PushCommand;
  readonly registry: Registry;
  readonly locks: Locks;
  readonly report: Report;
};

/** Brings blobs to the registry, each once, and keeps count. */
export type BlobSender = {
  /**
   * Sends a blob unless the registry has it.
   *
   * @param remake makes it anew where the cache has lost it
   * @param rank of those that wait, the highest is sent first. @default its size in bytes
   */
  bring(
    prepared: PreparedLayer,
    name: string,
    remake: () => Promise<RegistryBlob>,
    rank?: number,
  ): Promise<Descriptor>;
  /** Asks whether the registry has a blob. */
  ask(digest: Digest, name: string): ReturnType<typeof findBlob>;
  /** Asks whether the registry has a blob, and takes its word where it says so. */
  isThere(descriptor: Descriptor, name: string, obtain: () => Promise<RegistryBlob>): Promise<boolean>;
  /** Takes note of what the registry said it has. It may be mistaken. */
  believe(blob: Believed, mountedFrom?: string): Descriptor;
  /**
   * Sends a blob that the registry was mistaken to have.
   *
   * @returns what it is now: a layer that was known by the registry's word alone may be compressed otherwise here
   */
  sendAgain(digest: Digest): Promise<Descriptor>;
  believed(): Digest[];
  readonly count: { sentBytes: number; presentBytes: number };
};

type Believed = {
  readonly descriptor: Descriptor;
  readonly name: string;
  /** What to send, if the registry is mistaken. */
  readonly obtain: () => Promise<RegistryBlob>;
};

/** Blobs on their way at a time are as many as the command says. */
export function blobSender({ command, registry, locks, report }: BlobSenderOptions): BlobSender {
  // Whoever wants one upload at a time wants one request after another.
  const asking = pLimit(command.parallel === 1 ? 1 : QUESTIONS);
  const questions = new Set<Promise<unknown>>();
  const uploading = largestFirst(command.parallel, async () => {
    while (questions.size > 0) await Promise.allSettled(questions);
    // Whatever follows from the last answer is waiting by then.
    await setImmediate();
  });
  const count = { sentBytes: 0, presentBytes: 0 };
  const believed = new Map<Digest, Believed>();

  async function ask(digest: Digest, name: string): ReturnType<typeof findBlob> {
    const question = asking(() => findBlob(registryFor(name), digest));
    questions.add(question);
    try {
      return await question;
    } finally {
      questions.delete(question);
    }
  }

  function believe(blob: Believed, mountedFrom?: string): Descriptor {
    const { descriptor, name } = blob;
    believed.set(descriptor.digest, blob);
    report({ type: "blob-present", subject: name, sizeBytes: descriptor.size, mountedFrom });
    count.presentBytes += descriptor.size;
    return descriptor;
  }

  const believeBlob = (blob: RegistryBlob, name: string, mountedFrom?: string) =>
    believe({ descriptor: blob.descriptor, name, obtain: async () => blob }, mountedFrom);

  async function bring(
    prepared: PreparedLayer,
    name: string,
    remake: () => Promise<RegistryBlob>,
    rank = prepared.blob.descriptor.size,
  ): Promise<Descriptor> {
    const brought = await bringInTurn(prepared, name, rank);
    return brought ?? bringRemade(await remake(), name);
  }

  /**
   * The pushes that share a cache send a blob to a repository one at a time: all but the first find it there. A turn
   * is over before anything else is waited for that another push may have.
   *
   * @returns undefined where the bytes in the cache are not what they were
   */
  async function bringInTurn(
    prepared: PreparedLayer,
    name: string,
    rank: number,
  ): Promise<Descriptor | undefined> {
    const { blob } = prepared;
    const { digest, size } = blob.descriptor;
    using _turn = await takeTurn(digest, name);
    const found = await ask(digest, name);
    if (found?.sizeBytes === size) return believeBlob(blob, name);
    return await uploading(rank, async () => {
      // What an earlier push left is not trusted with a byte on the wire, nor with a size that the registry disagrees
      // with.
      if (!(await isSound(prepared, registry.signal))) return undefined;
      if (found === undefined) return sendSound(prepared, name);
      await prepared.guard?.verify();
      return believeBlob(blob, name);
    });
  }

  async function bringRemade(blob: RegistryBlob, name: string): Promise<Descriptor> {
    const { digest } = blob.descriptor;
    using _turn = await takeTurn(digest, name);
    const found = await ask(digest, name);
    return found === undefined
      ? await uploading(blob.descriptor.size, () => send(blob, name))
      : believeBlob(blob, name);
  }

  function takeTurn(digest: Digest, name: string): Promise<Lock> {
    const onWaiting = () => report({ type: "other-push-awaited", subject: name, work: "upload" });
    return locks.take(uploadName(registry, digest), onWaiting);
  }

  /**
   * Sends a blob, and reads along where nobody has yet: the registry never gets the whole of a wrong one.
   *
   * @returns undefined where the bytes in the cache went bad while they were sent
   */
  async function sendSound(prepared: PreparedLayer, name: string): Promise<Descriptor | undefined> {
    try {
      return await send(prepared.blob, name, { guard: prepared.guard });
    } catch (error) {
      if (!mayBeFoundWrong(error)) throw error;
      // Where the source is damaged, that is the better word for it.
      await prepared.guard?.verify();
      const isStillSound = await isSound({ ...prepared, origin: "cache" }, registry.signal);
      // Then those at the registry are not what was sent.
      if (isStillSound && isFoundWrong(error)) return await send(prepared.blob, name);
      if (isStillSound || prepared.origin === "source") throw error;
      return undefined;
    }
  }

  async function send(
    blob: RegistryBlob,
    name: string,
    { mayMount = true, guard }: { mayMount?: boolean; guard?: BlobGuard | undefined } = {},
  ): Promise<Descriptor> {
    const { size } = blob.descriptor;
    const task: Task = { id: `upload ${name}`, verb: "uploading", subject: name, totalBytes: size };
    const onProgress = (doneBytes: number) => report({ type: "task-progress", task, doneBytes });
    const { resumedBytes, mountedFrom } = await uploadBlob(registryFor(name), blob, {
      chunkBytes: command.chunkBytes,
      allowOversize: command.allowOversize,
      mayMount,
      mountFrom: command.mountFrom,
      onProgress,
      onPiece: guard?.pass,
      onRefused: (bodyBytes) => report({ type: "body-refused", subject: name, bodyBytes }),
    });
    if (mountedFrom !== undefined) return believeBlob(blob, name, mountedFrom);
    // Of an empty blob, no piece has come by.
    await guard?.verify();
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
    ask,
    bring,
    believe,
    async isThere(descriptor, name, obtain) {
      const found = await ask(descriptor.digest, name);
      if (found !== undefined) believe({ descriptor, name, obtain });
      return found !== undefined;
    },
    async sendAgain(digest) {
      const mistaken = believed.get(digest);
      if (mistaken === undefined) throw new Error(`${digest} was sent, and not believed to be there.`);
      const blob = await mistaken.obtain();
      using _turn = await takeTurn(blob.descriptor.digest, mistaken.name);
      return await uploading(blob.descriptor.size, () => send(blob, mistaken.name, { mayMount: false }));
    },
    believed: () => [...believed.keys()],
    count,
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
