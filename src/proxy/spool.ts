import { writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { fileError, PushError } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestHasher } from "../oci/digest.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { LEAST_TAIL_BYTES } from "../registry/upload/chunk-size.ts";
import type { Outgoing } from "../registry/upload/outgoing.ts";
import { PRIVATE_FILE } from "../store/own-file.ts";
import { temporaryFile } from "../store/temporary-file.ts";

/** Where blobs wait for the registry to confirm them. */
export type Spool = {
  readonly directory: string;
  /** Clients are slowed where the spool has more. One blob may exceed it: it has to be whole to begin again. */
  readonly limitBytes: number;
  usedBytes: number;
  readonly files: Set<SpoolFile>;
  /** Complete files from which room is to come: the registry is about to confirm them. */
  readonly leaving: Set<SpoolFile>;
  /** The one file that grows beyond the limit. */
  favoured: SpoolFile | undefined;
  /** Resolves when there may be room. */
  changed: PromiseWithResolvers<void>;
};

/** A blob in the spool, which can be sent while it grows. Disposal removes it. */
export type SpoolFile = Outgoing &
  AsyncDisposable & {
    readonly sizeBytes: number;
    /** Notes what the client says of the blob that it is about to send. The end is given out once that is verified. */
    declare(said: Descriptor): void;
    /**
     * Waits for room, and adds bytes. Throws `FILE_FAILED`, and what the file was failed with.
     *
     * @param signal ends the wait: its reason is thrown
     */
    append(piece: Uint8Array, signal: AbortSignal): Promise<void>;
    /** Ends the blob. Throws `CONTENT_MISMATCH`, which also fails the file, for another digest. */
    finish(digest: Digest): Promise<Descriptor>;
    /** Waits for another upload of the same blob, which may itself wait for room. */
    wait(): void;
    /** Lets another file grow beyond the limit: no client goes on with this one for now. */
    pause(): void;
    /** Breaks the blob off, for its reader and its writer. */
    fail(error: Error): void;
  };

/** Only manifests tell what kind of content a blob has. */
export const MEDIA_TYPE = "application/octet-stream";

export function openSpool(directory: string, limitBytes: number): Spool {
  return {
    directory,
    limitBytes,
    usedBytes: 0,
    files: new Set(),
    leaving: new Set(),
    favoured: undefined,
    changed: Promise.withResolvers(),
  };
}

/** Opens a file in the spool. Throws `FILE_FAILED`. */
export async function openSpoolFile(spool: Spool): Promise<SpoolFile> {
  const place = temporaryFile(spool.directory, "spool");
  const failed = (cause: unknown) => fileError(cause, `write to the spool "${spool.directory}"`, OTHER_SPOOL);
  const handle = await open(place.path, "wx", PRIVATE_FILE).catch((cause: unknown) => {
    throw failed(cause);
  });
  const hasher = digestHasher();
  const end = Promise.withResolvers<Descriptor>();
  end.promise.catch(() => undefined);
  let descriptor: Descriptor | undefined;
  let sizeBytes = 0;
  let failure: Error | undefined;
  let isComplete = false;
  let isClosed = false;
  let isWaiting = false;
  let grown = Promise.withResolvers<void>();

  const wake = () => {
    grown.resolve();
    grown = Promise.withResolvers();
    announce(spool);
  };
  const close = async () => {
    file.pause();
    if (!isClosed) {
      isClosed = true;
      await handle.close();
    }
  };

  const file: SpoolFile = {
    end: end.promise,
    get descriptor() {
      return descriptor;
    },
    get grows() {
      return !isComplete;
    },
    get sizeBytes() {
      return sizeBytes;
    },
    declare(said) {
      descriptor = said;
    },
    async slice(from, to, least = to) {
      const mostBytes = (descriptor?.size ?? Number.POSITIVE_INFINITY) - LEAST_TAIL_BYTES;
      while (!isComplete && (sizeBytes < least || least > mostBytes)) {
        if (failure !== undefined) throw failure;
        await grown.promise;
      }
      if (failure !== undefined) throw failure;
      const thereBytes = isComplete ? sizeBytes : Math.min(sizeBytes, mostBytes);
      return Bun.file(place.path).slice(from, Math.max(from, Math.min(to, thereBytes)));
    },
    async append(piece, signal) {
      await awaitRoom(spool, file, () => failure, signal);
      if (failure !== undefined) throw failure;
      hasher.update(piece);
      try {
        writeWhole(handle.fd, piece);
      } catch (cause) {
        file.fail(failed(cause) as Error);
      }
      if (failure !== undefined) throw failure;
      sizeBytes += piece.length;
      spool.usedBytes += piece.length;
      wake();
    },
    async finish(digest) {
      if (failure !== undefined) throw failure;
      const actual = hasher.digest();
      await close();
      if (actual !== digest) {
        const error = new PushError(
          "CONTENT_MISMATCH",
          `The blob was sent as ${digest}, but its ${sizeBytes} bytes are ${actual}.`,
        );
        file.fail(error);
        throw error;
      }
      isComplete = true;
      if (!isWaiting) spool.leaving.add(file);
      descriptor = { mediaType: MEDIA_TYPE, digest, size: sizeBytes };
      end.resolve(descriptor);
      wake();
      return descriptor;
    },
    wait() {
      isWaiting = true;
      spool.leaving.delete(file);
      announce(spool);
    },
    pause() {
      if (spool.favoured === file) spool.favoured = undefined;
      announce(spool);
    },
    fail(error) {
      failure ??= error;
      end.reject(error);
      file.pause();
      wake();
    },
    async [Symbol.asyncDispose]() {
      await close();
      await place[Symbol.asyncDispose]();
      spool.files.delete(file);
      spool.leaving.delete(file);
      spool.usedBytes -= sizeBytes;
      sizeBytes = 0;
      announce(spool);
    },
  };
  spool.files.add(file);
  return file;
}

/** Removes what is left, at the end. */
export async function removeAll({ files }: Spool): Promise<void> {
  await Promise.all([...files].map((file) => file[Symbol.asyncDispose]()));
}

const OTHER_SPOOL = "or choose another folder with --spool-dir";

/**
 * Writes all of a piece. A call that waits costs less than one that another thread takes: the system notes the bytes,
 * and writes them to the disk later. A full disk takes a part, and says so at the next try.
 */
function writeWhole(fd: number, piece: Uint8Array): void {
  for (let written = 0; written < piece.length; ) written += writeSync(fd, piece, written);
}

/** Wakes writers that wait for room. */
function announce(spool: Spool): void {
  spool.changed.resolve();
  spool.changed = Promise.withResolvers();
}

/**
 * Waits until a file may grow. Beyond the limit one file alone grows, and only where no room is to come: without it,
 * blobs that fill the spool together would wait for each other.
 */
async function awaitRoom(
  spool: Spool,
  file: SpoolFile,
  failure: () => Error | undefined,
  signal: AbortSignal,
): Promise<void> {
  while (spool.usedBytes >= spool.limitBytes && spool.favoured !== file && failure() === undefined) {
    if (spool.favoured === undefined && spool.leaving.size === 0) spool.favoured = file;
    else await unlessAborted(spool.changed.promise, signal);
  }
}
