import { createReadStream, createWriteStream } from "node:fs";
import { fileError, messageOf, OTHER_CACHE, PushError } from "../../errors.ts";
import { detectCompression } from "../../oci/image.ts";
import { type TemporaryFile, temporaryFile } from "../../store/temporary-file.ts";

/**
 * Unpacks an archive that is compressed as a whole (`docker save | gzip`) into a temporary file, since members
 * of a compressed archive cannot be read in place. Undefined where the archive is a plain one.
 *
 * @param onProgress told how much of the archive's file is done
 *
 * Throws `ARCHIVE_INVALID` where the compressed data is damaged or cut short.
 */
export async function decompressArchive(
  path: string,
  directory: string,
  signal: AbortSignal,
  onProgress: (doneBytes: number, totalBytes: number) => void,
): Promise<TemporaryFile | undefined> {
  const compression = await detectCompression(Bun.file(path)).catch((cause: unknown) => {
    throw fileError(cause, `read "${path}"`);
  });
  if (compression === "none") return undefined;
  const target = temporaryFile(directory, "archive");
  const { size } = Bun.file(path);
  const packed = createReadStream(path);
  packed.on("data", () => onProgress(packed.bytesRead, size));
  // They take long to load, and most archives are plain.
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
