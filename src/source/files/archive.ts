import { PushError } from "../../errors.ts";
import { indexTar } from "../tar/members.ts";
import type { ImageFiles } from "./image-files.ts";

/** A longer chain of links is treated as a loop. */
const MAX_LINKS = 40;

/** Opens a tar archive without unpacking it. Throws as `indexTar` does. */
export async function openArchiveFiles(path: string, title: string): Promise<ImageFiles> {
  const members = await indexTar(path, title);
  return {
    title,
    async open(name) {
      let member = members.get(name);
      for (let links = 0; member?.kind === "link"; links++) {
        if (links === MAX_LINKS) {
          const problem = `the links of "${name}" go in a circle`;
          throw new PushError("ARCHIVE_INVALID", `Cannot read the ${title}: ${problem}.`);
        }
        member = members.get(member.target);
      }
      return member && Bun.file(path).slice(member.offset, member.offset + member.sizeBytes);
    },
  };
}
