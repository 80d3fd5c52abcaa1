import { type FileHandle, open } from "node:fs/promises";
import { fileError } from "../../errors.ts";
import { cutShort, invalid, readTarEntries, type TarEntry } from "./entries.ts";

/** Where a member of an archive lies. */
export type TarMember =
  | { readonly kind: "file"; readonly offset: number; readonly sizeBytes: number }
  | { readonly kind: "link"; readonly target: string };

/**
 * Finds every file and link of a tar archive by reading its headers alone, however large the archive is.
 *
 * Directories are left out. Names are relative, without `./`; link targets are resolved to such names. As for
 * `tar` itself, the last member of a name wins.
 *
 * @param title the archive in messages, such as `archive "output.tar"`
 *
 * Throws `ARCHIVE_INVALID`, naming the member, for whatever an image cannot hold or that leads out of the
 * archive, and where the archive ends too early.
 */
export async function indexTar(path: string, title = `archive "${path}"`): Promise<Map<string, TarMember>> {
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
  const input = { read: (buffer: Buffer, position: number) => readFully(file, buffer, position, title) };
  for await (const entry of readTarEntries(input, title)) {
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
      // Another name of a file that came before it, whatever has that name later.
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

/** Resolves a name inside the archive: what would leave it is refused. */
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

/** The archive may be shorter than it says. */
async function readFully(file: FileHandle, buffer: Buffer, position: number, title: string): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw cutShort(title, position + done);
    done += bytesRead;
  }
}
