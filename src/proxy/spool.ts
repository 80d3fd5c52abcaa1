import { fileError } from "../errors.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { type GrowingFile, growingFile } from "../registry/upload/growing-file.ts";

/** A folder of blobs that the registry has not confirmed yet. */
export type Spool = {
  readonly directory: string;
  /** Clients are slowed beyond this size. One blob may exceed it: a new upload needs all of its bytes. */
  readonly limitBytes: number;
  usedBytes: number;
  readonly files: Set<SpoolFile>;
  /** Complete files that the registry is about to confirm. Their removal makes room. */
  readonly leaving: Set<SpoolFile>;
  /** The only file that may grow beyond the limit. */
  favoured: SpoolFile | undefined;
  /** Resolves when there may be room. */
  changed: PromiseWithResolvers<void>;
};

/** A blob in the spool, which can be sent while it grows. Disposal removes its file. */
export type SpoolFile = Omit<GrowingFile, "append"> & {
  /**
   * Waits for room, and adds bytes. Throws `FILE_FAILED`, the error of `fail`, and the signal's reason.
   */
  append(piece: Uint8Array, signal: AbortSignal): Promise<void>;
  /** Marks the file as waiting for another upload of the same blob, which may itself wait for room. */
  wait(): void;
  /** Lets another file grow beyond the limit while no client continues this one. */
  pause(): void;
};

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
  const { directory } = spool;
  const grown = await growingFile(directory, "spool", (cause) =>
    fileError(cause, `write to the spool "${directory}"`, "choose another folder with --spool-dir"),
  );
  let isWaiting = false;
  const file: SpoolFile = {
    end: grown.end,
    get descriptor() {
      return grown.descriptor;
    },
    get grows() {
      return grown.grows;
    },
    get sizeBytes() {
      return grown.sizeBytes;
    },
    declare: grown.declare,
    slice: grown.slice,
    throwIfFailed: grown.throwIfFailed,
    async append(piece, signal) {
      await awaitRoom(spool, file, signal);
      try {
        grown.append(piece);
      } catch (error) {
        file.pause();
        throw error;
      }
      spool.usedBytes += piece.length;
    },
    async finish(digest) {
      file.pause();
      const descriptor = await grown.finish(digest);
      if (!isWaiting) spool.leaving.add(file);
      announce(spool);
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
      grown.fail(error);
      file.pause();
    },
    async [Symbol.asyncDispose]() {
      file.pause();
      await grown[Symbol.asyncDispose]();
      if (spool.files.delete(file)) spool.usedBytes -= grown.sizeBytes;
      spool.leaving.delete(file);
      announce(spool);
    },
  };
  spool.files.add(file);
  return file;
}

/** Removes all remaining files. */
export async function removeAll({ files }: Spool): Promise<void> {
  await Promise.all([...files].map((file) => file[Symbol.asyncDispose]()));
}

/** Wakes writers that wait for room. */
function announce(spool: Spool): void {
  spool.changed.resolve();
  spool.changed = Promise.withResolvers();
}

/**
 * Waits until a file may grow. Beyond the limit, one file grows if no other is about to leave. Otherwise incomplete blobs
 * that fill the spool together would wait for each other.
 */
async function awaitRoom(spool: Spool, file: SpoolFile, signal: AbortSignal): Promise<void> {
  while (spool.usedBytes >= spool.limitBytes && spool.favoured !== file) {
    file.throwIfFailed();
    if (spool.favoured === undefined && spool.leaving.size === 0) spool.favoured = file;
    else await unlessAborted(spool.changed.promise, signal);
  }
}
