import { createReadStream, createWriteStream } from "node:fs";
import { fileError, messageOf, OTHER_CACHE, PushError } from "../../errors.ts";
import { detectCompression } from "../../oci/image.ts";
import { type TemporaryFile, temporaryFile } from "../../store/temporary-file.ts";

export type UnpackOptions = {
  /** An existing folder, for an archive that has to be unpacked. */
  readonly temporaryDirectory: string;
  readonly signal: AbortSignal;
  /** Called while an archive is unpacked that cannot be read in place. */
  readonly onUnpacking: (doneBytes: number, totalBytes: number) => void;
};

/**
 * Unpacks an archive that is compressed as a whole (`docker save | gzip`) into a temporary file, since its members
 * cannot be read in place. Undefined if the archive is uncompressed. Throws `ARCHIVE_INVALID` if the compressed data is
 * damaged or truncated, and `FILE_FAILED`.
 */
export async function decompressArchive(
  path: string,
  { temporaryDirectory: directory, signal, onUnpacking }: UnpackOptions,
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
  try {
    await pipeline(
      packed,
      compression === "gzip" ? createGunzip() : createZstdDecompress(),
      createWriteStream(target.path, { flags: "wx", mode: 0o600 }),
      { signal },
    );
    return target;
  } catch (cause) {
    await target[Symbol.asyncDispose]();
    signal.throwIfAborted();
    if (cause instanceof Error && "syscall" in cause)
      throw fileError(cause, `unpack "${path}" (${compression}) into "${directory}"`, OTHER_CACHE);
    throw new PushError("ARCHIVE_INVALID", `Cannot unpack "${path}" (${compression}): ${messageOf(cause)}`, {
      hint: "The archive may be cut short: save or copy it again.",
      cause,
    });
  }
}
