import { constants } from "node:fs";
import { access, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileError, PushError } from "../errors.ts";

const ALTERNATIVE = "or choose another file with --digestfile";

/** Checks before the push that the file can be written after it. Throws `FILE_FAILED`. */
export async function assertWritable(path: string): Promise<void> {
  const isFolder = await stat(path).then(
    (stats) => stats.isDirectory(),
    () => /[\\/]$/.test(path),
  );
  if (isFolder) {
    throw new PushError("FILE_FAILED", `Cannot write the digest to "${path}": it is a folder.`, {
      hint: "Name a file with --digestfile.",
    });
  }
  await access((await isSpecial(path)) ? path : dirname(path), constants.W_OK).catch((cause: unknown) => {
    throw fileError(cause, `write the digest to "${path}"`, ALTERNATIVE);
  });
}

/** Writes a digest, alone and without a line break, as Podman and skopeo do. Nobody reads half of it. Throws `FILE_FAILED`. */
export async function writeDigest(path: string, digest: string): Promise<void> {
  try {
    if (await isSpecial(path)) return await writeFile(path, digest);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await writeFile(temporary, digest, { flag: "wx" });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  } catch (cause) {
    throw fileError(cause, `write the digest to "${path}"`, ALTERNATIVE);
  }
}

/** Tells whether something other than a file is there, such as a pipe or /dev/stdout, which a rename would replace. */
async function isSpecial(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => !stats.isFile(),
    () => false,
  );
}
