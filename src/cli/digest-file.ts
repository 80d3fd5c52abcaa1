import { constants } from "node:fs";
import { access, readlink, realpath, rename, stat, writeFile } from "node:fs/promises";
import { dirname, isAbsolute } from "node:path";
import { fileError, PushError } from "../errors.ts";
import { temporaryFile } from "../store/temporary-file.ts";

/** Matches paths that lead to files which this process has open, such as `/dev/stdout`. */
const OPEN_FILE = /^\/(?:dev\/(?:fd\/|std)|proc\/)/;

const ALTERNATIVE = "choose another file with --digestfile";

/** Checks before the push that the file can be written after it. Throws `FILE_FAILED`. */
export async function assertWritable(path: string): Promise<void> {
  try {
    const { end, kind } = await follow(path);
    if (kind === "folder" || /[\\/]$/.test(path)) {
      throw new PushError("FILE_FAILED", `Cannot write the digest to "${path}": it is a folder.`, {
        hint: "Name a file with --digestfile.",
      });
    }
    await access(kind === "special" ? end : dirname(end), constants.W_OK);
  } catch (cause) {
    throw fileError(cause, `write the digest to "${path}"`, ALTERNATIVE);
  }
}

/**
 * Writes a digest, alone and without a line break, to the file that a path or its links lead to, as Podman and skopeo do.
 * Nobody reads half of it. Throws `FILE_FAILED`.
 */
export async function writeDigest(path: string, digest: string): Promise<void> {
  try {
    const { end, kind } = await follow(path);
    if (kind === "special") return await writeFile(end, digest, { flag: "a" });
    await using temporary = temporaryFile(await realpath(dirname(end)), "digest");
    await writeFile(temporary.path, digest, { flag: "wx" });
    await rename(temporary.path, end);
  } catch (cause) {
    throw fileError(cause, `write the digest to "${path}"`, ALTERNATIVE);
  }
}

/**
 * Follows the links of a path to the file that they name, which may not exist yet. `special` is neither a file nor a folder,
 * such as a pipe or /dev/stdout: a rename would replace it. Throws the system's error.
 */
async function follow(
  path: string,
): Promise<{ readonly end: string; readonly kind: "file" | "folder" | "special" }> {
  const isOpen = OPEN_FILE.test(path);
  // Ask the system first: it may refuse to follow a link that another user has put into /tmp (fs.protected_symlinks).
  const there = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" && !isOpen) return undefined;
    throw error;
  });
  const link = isOpen ? undefined : await readlink(path).catch(() => undefined);
  // Only the system resolves "..": other parts of the path may be links as well.
  if (link !== undefined) return follow(isAbsolute(link) ? link : `${dirname(path)}/${link}`);
  if (there === undefined || (there.isFile() && !isOpen)) return { end: path, kind: "file" };
  return { end: path, kind: there.isDirectory() ? "folder" : "special" };
}
