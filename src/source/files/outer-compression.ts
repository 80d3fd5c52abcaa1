import { createReadStream, createWriteStream, statfsSync } from "node:fs";
import { fileError, messageOf, OTHER_CACHE, PushError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import { detectCompression } from "../../oci/image.ts";
import { type TemporaryFile, temporaryFile } from "../../store/temporary-file.ts";

export type UnpackOptions = {
  /** An existing folder, for an archive that has to be unpacked. */
  readonly temporaryDirectory: string;
  readonly signal: AbortSignal;
  /** Called while an archive is unpacked that cannot be read in place. */
  readonly onUnpacking: (doneBytes: number, totalBytes: number) => void;
  /** @default UNPACK_LIMITS */
  readonly limits?: typeof UNPACK_LIMITS;
};

/** An archive that unpacks to more is a bomb, and what fills the disk stops other programs. */
const UNPACK_LIMITS = { timesItsSize: 100, atLeastBytes: 10e9, keptFreeBytes: 1e9 };

/** How often the disk is asked. */
const ASK_BYTES = 16 * 1024 * 1024;

/**
 * Unpacks an archive that is compressed as a whole (`docker save | gzip`) into a temporary file, since its members
 * cannot be read in place. Undefined if the archive is uncompressed. Throws `ARCHIVE_INVALID` if the compressed data is
 * damaged or truncated or unpacks to far too much, and `FILE_FAILED`, also before the disk is full.
 */
export async function decompressArchive(
  path: string,
  { temporaryDirectory: directory, signal, onUnpacking, limits = UNPACK_LIMITS }: UnpackOptions,
): Promise<TemporaryFile | undefined> {
  const compression = await detectCompression(Bun.file(path)).catch((cause: unknown) => {
    throw fileError(cause, `read "${path}"`);
  });
  if (compression === "none") return undefined;
  const target = temporaryFile(directory, "archive");
  const { size } = Bun.file(path);
  const packed = createReadStream(path);
  packed.on("data", () => onUnpacking(packed.bytesRead, size));
  // Load these slow modules only when needed: most archives are uncompressed.
  const { pipeline } = await import("node:stream/promises");
  const { createGunzip, createZstdDecompress } = await import("node:zlib");
  const unpacking = compression === "gzip" ? createGunzip() : createZstdDecompress();
  const mostBytes = Math.max(size * limits.timesItsSize, limits.atLeastBytes);
  const name = `"${path}" (${compression})`;
  let unpackedBytes = 0;
  let askAtBytes = 0;
  unpacking.on("data", (bytes: Uint8Array) => {
    unpackedBytes += bytes.length;
    if (unpackedBytes > mostBytes) unpacking.destroy(bomb(name, mostBytes));
    if (unpackedBytes < askAtBytes) return;
    askAtBytes = unpackedBytes + ASK_BYTES;
    if (freeBytes(directory) < limits.keptFreeBytes + ASK_BYTES)
      unpacking.destroy(tooLittleRoom(name, directory, limits.keptFreeBytes));
  });
  try {
    await pipeline(packed, unpacking, createWriteStream(target.path, { flags: "wx", mode: 0o600 }), {
      signal,
    });
    return target;
  } catch (cause) {
    await target[Symbol.asyncDispose]();
    signal.throwIfAborted();
    if (cause instanceof PushError) throw cause;
    if (cause instanceof Error && "syscall" in cause)
      throw fileError(cause, `unpack ${name} into "${directory}"`, OTHER_CACHE);
    throw new PushError("ARCHIVE_INVALID", `Cannot unpack ${name}: ${messageOf(cause)}`, {
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
    // Writing tells what is wrong.
    return Number.POSITIVE_INFINITY;
  }
}

function bomb(name: string, mostBytes: number): PushError {
  return new PushError(
    "ARCHIVE_INVALID",
    `Cannot unpack ${name}: it unpacks to more than ${formatBytes(mostBytes)}.`,
    {
      hint: "No image is packed that well. If it is one, unpack it and push the unpacked archive.",
    },
  );
}

function tooLittleRoom(name: string, directory: string, keptBytes: number): PushError {
  const problem = `less than ${formatBytes(keptBytes)} would be left on the disk`;
  return new PushError("FILE_FAILED", `Cannot unpack ${name} into "${directory}": ${problem}.`, {
    hint: `Make room, ${OTHER_CACHE}.`,
  });
}
