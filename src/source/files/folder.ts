import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileError, PushError } from "../../errors.ts";
import type { ImageFiles } from "./image-files.ts";

/** Opens a folder that holds an unpacked image archive or an OCI layout. */
export async function openFolderFiles(path: string, title: string): Promise<ImageFiles> {
  const root = await realpath(path).catch((cause: unknown) => {
    throw fileError(cause, `read the ${title}`);
  });
  return {
    title,
    async open(name) {
      const file = await realpath(join(root, name)).catch((cause: NodeJS.ErrnoException) => {
        if (cause.code === "ENOENT" || cause.code === "ENOTDIR") return undefined;
        const error = fileError(cause, `read "${name}" in "${path}"`);
        // Bun throws errors of its own for names that no file can have.
        if (error instanceof PushError) throw error;
        throw new PushError("FILE_FAILED", `Cannot read "${name}" in "${path}".`, { cause });
      });
      if (file === undefined) return undefined;
      if (!file.startsWith(root.endsWith(sep) ? root : root + sep))
        throw new PushError("ARCHIVE_INVALID", `Cannot read "${path}": "${name}" points outside the folder.`);
      const status = await stat(file).catch((cause: unknown) => {
        throw fileError(cause, `read "${name}" in "${path}"`);
      });
      if (!status.isFile())
        throw new PushError("ARCHIVE_INVALID", `Cannot read "${path}": "${name}" is not a regular file.`);
      // The slice fixes the size, so that a later change of the file's size is detected.
      return Bun.file(file).slice(0, status.size);
    },
  };
}
