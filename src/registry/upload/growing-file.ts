import { writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { PushError } from "../../errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestHasher } from "../../oci/digest.ts";
import { PRIVATE_FILE } from "../../store/own-file.ts";
import { temporaryFile } from "../../store/temporary-file.ts";
import { LEAST_TAIL_BYTES } from "./chunk-size.ts";
import type { Outgoing } from "./outgoing.ts";

/** A blob in a temporary file, which can be sent while it grows. Disposal removes the file. */
export type GrowingFile = Outgoing &
  AsyncDisposable & {
    readonly grows: boolean;
    readonly sizeBytes: number;
    /** Sets the blob's expected descriptor. The last bytes are available only once its digest is verified. */
    declare(said: Descriptor): void;
    /** Adds bytes. Throws `FILE_FAILED`, and the error of `fail`. */
    append(piece: Uint8Array): void;
    /**
     * Ends the blob. For another digest, fails the file and throws `CONTENT_MISMATCH`.
     *
     * @param subject the beginning of that error's message. @default "The blob was sent"
     */
    finish(digest: Digest, subject?: string): Promise<Descriptor>;
    /** Makes the reader and the writer of the blob fail. */
    fail(error: Error): void;
    /** Throws the error of `fail`, if it was called. */
    throwIfFailed(): void;
  };

/** The media type of a blob alone. Only manifests know a more specific one. */
export const BLOB_TYPE = "application/octet-stream";

/**
 * Creates a file that only this user may read. Throws the system's errors as `failed` converts them.
 *
 * @param purpose a part of the file's name
 */
export async function growingFile(
  directory: string,
  purpose: string,
  failed: (cause: unknown) => unknown,
): Promise<GrowingFile> {
  const temporary = temporaryFile(directory, purpose);
  const { path } = temporary;
  const handle = await open(path, "wx", PRIVATE_FILE).catch((cause: unknown) => {
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
  let grown = Promise.withResolvers<void>();

  const wake = () => {
    grown.resolve();
    grown = Promise.withResolvers();
  };
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await handle.close();
  };

  const file: GrowingFile = {
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
        file.throwIfFailed();
        await grown.promise;
      }
      file.throwIfFailed();
      const thereBytes = isComplete ? sizeBytes : Math.min(sizeBytes, mostBytes);
      return Bun.file(path).slice(from, Math.max(from, Math.min(to, thereBytes)));
    },
    append(piece) {
      file.throwIfFailed();
      hasher.update(piece);
      try {
        writeWhole(handle.fd, piece);
      } catch (cause) {
        file.fail(failed(cause) as Error);
      }
      file.throwIfFailed();
      sizeBytes += piece.length;
      wake();
    },
    async finish(digest, subject = "The blob was sent") {
      file.throwIfFailed();
      const actual = hasher.digest();
      await close();
      if (actual !== digest) {
        const error = new PushError(
          "CONTENT_MISMATCH",
          `${subject} as ${digest}, but the digest of its ${sizeBytes} bytes is ${actual}.`,
        );
        file.fail(error);
        throw error;
      }
      isComplete = true;
      descriptor = { mediaType: descriptor?.mediaType ?? BLOB_TYPE, digest, size: sizeBytes };
      end.resolve(descriptor);
      wake();
      return descriptor;
    },
    fail(error) {
      failure ??= error;
      end.reject(error);
      wake();
    },
    throwIfFailed() {
      if (failure !== undefined) throw failure;
    },
    async [Symbol.asyncDispose]() {
      await close();
      await temporary[Symbol.asyncDispose]();
    },
  };
  return file;
}

/**
 * Writes all of a piece. A synchronous call costs less than one in another thread: the system only buffers the bytes. A full
 * disk takes a part, and fails at the next call.
 */
function writeWhole(fd: number, piece: Uint8Array): void {
  for (let written = 0; written < piece.length; ) written += writeSync(fd, piece, written);
}
