import { type FileHandle, open } from "node:fs/promises";
import { fileError } from "../../errors.ts";
import { cutShort, invalid, readTarEntries, type TarEntry } from "./entries.ts";

/** A member of an archive. Offset and size are of its content, in bytes. */
export type TarMember =
  | { readonly kind: "file"; readonly offset: number; readonly sizeBytes: number }
  | { readonly kind: "link"; readonly target: string };

/**
 * Lists the files and links of a tar archive. Reads only the headers.
 *
 * Directories are left out. Names and link targets are relative, without `./`. As in `tar`, the last member of a name
 * wins. Throws `FILE_FAILED`, and `ARCHIVE_INVALID`, naming the member, for types that no image contains, for paths
 * that leave the archive, and for a truncated archive.
 *
 * @param title the archive's name in messages, such as `archive "output.tar"`
 */
export async function indexTar(path: string, title: string): Promise<Map<string, TarMember>> {
  const file = await open(path, "r").catch((cause: unknown) => {
    throw fileError(cause, `read the ${title}`);
  });
  try {
    return await readMembers(file, (await file.stat()).size, title);
  } finally {
    await file.close();
  }
}

async function readMembers(
  file: FileHandle,
  archiveBytes: number,
  title: string,
): Promise<Map<string, TarMember>> {
  const members = new Map<string, TarMember>();
  const read = (buffer: Buffer, position: number) => readFully(file, buffer, position, title);
  for await (const entry of readTarEntries(read, title)) {
    if (entry.sizeBytes > archiveBytes - entry.offset) throw cutShort(title, archiveBytes, entry.path);
    const member = memberOf(entry, members, title);
    if (member !== undefined) members.set(normalizeName(entry.path, entry.path, title), member);
  }
  return members;
}

function memberOf(
  entry: TarEntry,
  earlier: ReadonlyMap<string, TarMember>,
  title: string,
): TarMember | undefined {
  switch (entry.type) {
    case "File":
    case "OldFile":
    case "ContiguousFile":
      return { kind: "file", offset: entry.offset, sizeBytes: entry.sizeBytes };
    case "SymbolicLink": {
      const folder = entry.path.slice(0, entry.path.lastIndexOf("/") + 1);
      return { kind: "link", target: normalizeName(linkTarget(entry, title), entry.path, title, folder) };
    }
    case "Link": {
      // A hard link means the file that had the target's name at this point, not a later one.
      const target = normalizeName(linkTarget(entry, title), entry.path, title);
      return earlier.get(target) ?? { kind: "link", target };
    }
    case "Directory":
      normalizeName(entry.path, entry.path, title);
      return undefined;
    default:
      throw invalid(title, `member "${entry.path}" is a ${entry.type}, which no image archive holds`);
  }
}

function linkTarget(entry: TarEntry, title: string): string {
  if (entry.linkpath) return entry.linkpath;
  throw invalid(title, `the link "${entry.path}" leads nowhere`);
}

/** Resolves a name inside the archive. Throws `ARCHIVE_INVALID` if it leaves the archive. */
function normalizeName(name: string, member: string, title: string, folder = ""): string {
  if (name.startsWith("/") || /^[A-Za-z]:/.test(name))
    throw invalid(title, `member "${member}" has the absolute path "${name}"`);
  const parts: string[] = [];
  for (const part of `${folder}${name}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw invalid(title, `member "${member}" leads out of the archive`);
  }
  return parts.join("/");
}

/** Fills the buffer from a position. Throws `ARCHIVE_INVALID` if the file ends before. */
async function readFully(file: FileHandle, buffer: Buffer, position: number, title: string): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw cutShort(title, position + done);
    done += bytesRead;
  }
}
