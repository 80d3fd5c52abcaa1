import { findFile, indexTar } from "../tar/members.ts";
import type { ImageFiles } from "./image-files.ts";

/** Opens a tar archive without unpacking it. Throws as `indexTar` does. */
export async function openArchiveFiles(path: string, title: string): Promise<ImageFiles> {
  const members = await indexTar(path, title);
  return {
    title,
    async open(name) {
      const file = findFile(members, name, title);
      return file && Bun.file(path).slice(file.offset, file.offset + file.sizeBytes);
    },
  };
}
