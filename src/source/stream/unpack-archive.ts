import { statfsSync } from "node:fs";
import { messageOf, OTHER_CACHE, PushError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import { compressionOf } from "../../oci/image.ts";
import { peek } from "../../oci/read-pieces.ts";
import { startUnpacking } from "../../oci/unpack.ts";

/** An archive that unpacks to more is a bomb. A full disk would stop other programs. */
const UNPACK_LIMITS = { timesItsSize: 100, atLeastBytes: 10e9, keptFreeBytes: 1e9 };

/** The free space of the disk is checked once per this many bytes. */
const ASK_BYTES = 16 * 1024 * 1024;

export type UnpackOptions = {
  /** The folder of the layers, whose disk must not become full. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** @default UNPACK_LIMITS */
  readonly limits?: typeof UNPACK_LIMITS;
};

/**
 * Decompresses an archive that is compressed as a whole (`docker save | gzip`) as it streams. Passes others on unchanged.
 * Throws `ARCHIVE_INVALID` if the compressed data is damaged, cut short or a bomb, and `FILE_FAILED` before the disk is full.
 *
 * @param name the archive's name, for messages
 */
export async function* unpackArchive(
  archive: AsyncIterable<Uint8Array<ArrayBuffer>>,
  name: string,
  { directory, signal, limits = UNPACK_LIMITS }: UnpackOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { head, all } = await peek(archive, 4);
  const compression = compressionOf(head);
  if (compression === "none") return yield* all;
  const title = `"${name}" (${compression})`;
  let reading: unknown;
  const packed = (async function* () {
    try {
      yield* all;
    } catch (error) {
      reading = error;
      throw error;
    }
  })();
  using unpacking = await startUnpacking(packed, compression, signal);
  let unpackedBytes = 0;
  let askAtBytes = 0;
  try {
    for await (const bytes of unpacking.bytes) {
      unpackedBytes += bytes.length;
      const mostBytes = Math.max(unpacking.packedBytes() * limits.timesItsSize, limits.atLeastBytes);
      if (unpackedBytes > mostBytes) throw bomb(title, mostBytes);
      if (unpackedBytes >= askAtBytes) {
        askAtBytes = unpackedBytes + ASK_BYTES;
        if (freeBytes(directory) < limits.keptFreeBytes + ASK_BYTES)
          throw tooLittleRoom(title, directory, limits.keptFreeBytes);
      }
      yield bytes;
    }
    await unpacking.fed;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof PushError) throw cause;
    if (reading !== undefined) throw reading;
    throw new PushError("ARCHIVE_INVALID", `Cannot unpack ${title}: ${messageOf(cause)}`, {
      hint: "The archive may be cut short: save or copy it again.",
      cause,
    });
  }
}

function freeBytes(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    // A failing write gives the better message.
    return Number.POSITIVE_INFINITY;
  }
}

function bomb(title: string, mostBytes: number): PushError {
  return new PushError(
    "ARCHIVE_INVALID",
    `Cannot unpack ${title}: it unpacks to more than ${formatBytes(mostBytes)}.`,
    {
      hint: "No image compresses that well. If this is one, decompress it and push the decompressed archive.",
    },
  );
}

function tooLittleRoom(title: string, directory: string, keptBytes: number): PushError {
  const problem = `less than ${formatBytes(keptBytes)} would remain free on the disk`;
  return new PushError("FILE_FAILED", `Cannot unpack ${title} into "${directory}": ${problem}.`, {
    hint: `Free some disk space, or ${OTHER_CACHE}.`,
  });
}
