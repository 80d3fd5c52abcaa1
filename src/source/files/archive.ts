import { PushError } from "../../errors.ts";
import { indexTar, type TarMember } from "../tar/members.ts";
import type { ImageFiles } from "./image-files.ts";

/** A longer chain of links is treated as a loop. */
const MAX_LINKS = 40;

/** Opens a tar archive without unpacking it. Throws as `indexTar` does. */
export async function openArchiveFiles(path: string, title: string): Promise<ImageFiles> {
  const members = await indexTar(path, title);
  return {
    title,
    async open(name) {
      const member = followLinks(members, name, title);
      return member && Bun.file(path).slice(member.offset, member.offset + member.sizeBytes);
    },
  };
}

function followLinks(
  members: ReadonlyMap<string, TarMember>,
  name: string,
  title: string,
): Extract<TarMember, { kind: "file" }> | undefined {
  let member = members.get(name);
  for (let links = 0; member?.kind === "link"; links++) {
    if (links === MAX_LINKS)
      throw new PushError(
        "ARCHIVE_INVALID",
        `Cannot read the ${title}: the links of "${name}" go in a circle.`,
      );
    member = members.get(member.target);
  }
  return member;
}
