import { type FileHandle, open } from "node:fs/promises";
import { fileError, type PushError } from "../../errors.ts";
import { rootWatch } from "../files/not-image.ts";
import { cutShort, endedEarly, invalid, readTarEntries, type TarEntry } from "./entries.ts";

/** A member of an archive. Offset and size are of its content, in bytes. */
export type TarMember = TarFile | { readonly kind: "link"; readonly target: string };

type TarFile = { readonly kind: "file"; readonly offset: number; readonly sizeBytes: number };

/** Headers of small members are close together, so that one read serves many. */
const READ_BYTES = 16 * 1024;

/**
 * Lists the files and links of a tar archive, without its folders. Reads only the headers. Names and link targets are
 * relative, without `./`. Throws `FILE_FAILED`, and `ARCHIVE_INVALID`, naming the member, for types that no image contains,
 * for paths that leave the archive, for headers that programs read differently, and for a truncated archive.
 *
 * @param title the archive's name in messages, such as `archive "output.tar"`
 */
export async function indexTar(path: string, title: string): Promise<Map<string, TarMember>> {
  try {
    await using file = await open(path, "r");
    return await readMembers(file, (await file.stat()).size, title);
  } catch (cause) {
    throw fileError(cause, `read the ${title}`);
  }
}

/** A longer chain of links is treated as a loop. */
const MAX_LINKS = 40;

/** Finds a file by its path, and follows links inside the archive. Throws `ARCHIVE_INVALID` for a loop of links. */
export function findFile(
  members: ReadonlyMap<string, TarMember>,
  path: string,
  title: string,
): TarFile | undefined {
  let member = members.get(path);
  for (let links = 0; member?.kind === "link"; links++) {
    if (links === MAX_LINKS) throw invalid(title, `the links of "${path}" form a loop`);
    member = members.get(member.target);
  }
  return member;
}

async function readMembers(
  file: FileHandle,
  archiveBytes: number,
  title: string,
): Promise<Map<string, TarMember>> {
  const members = new Map<string, TarMember>();
  const root = rootWatch(title);
  try {
    for await (const entry of readTarEntries(headerReader(file, title), title)) {
      const { path, offset, sizeBytes } = entry;
      root.see(path);
      if (sizeBytes > archiveBytes - offset) throw cutShort(title, archiveBytes, path);
      const name = memberName(entry, title);
      const member = memberOf(entry, name, members, title);
      if (member === undefined) continue;
      const earlier = members.get(name);
      // If two members have one name, docker reads the last, and skopeo the first.
      if (earlier !== undefined && !(await isSame(file, earlier, member))) throw twoMembers(name, title);
      members.set(name, member);
    }
    assertNoneInside(members, title);
  } catch (error) {
    throw root.explain(error);
  }
  return members;
}

/** Returns the path of a member inside the archive. Throws `ARCHIVE_INVALID` if it leaves the archive. */
export function memberName({ path }: TarEntry, title: string): string {
  return normalizeName(path, path, title);
}

/** Returns the member for an entry, or undefined for a folder. Throws `ARCHIVE_INVALID`. */
export function memberOf(
  entry: TarEntry,
  name: string,
  earlier: ReadonlyMap<string, TarMember>,
  title: string,
): TarMember | undefined {
  switch (entry.kind) {
    case "file":
      return { kind: "file", offset: entry.offset, sizeBytes: entry.sizeBytes };
    case "symlink": {
      const folder = name.slice(0, name.lastIndexOf("/") + 1);
      return { kind: "link", target: normalizeName(linkTarget(entry, title), entry.path, title, folder) };
    }
    case "link": {
      // A hard link means the file that has the target's name at this point, not a later one.
      const target = normalizeName(linkTarget(entry, title), entry.path, title);
      return earlier.get(target) ?? { kind: "link", target };
    }
    case "folder":
      return undefined;
  }
}

export function twoMembers(name: string, title: string): PushError {
  return invalid(title, `it has two members "${name}" that differ`);
}

async function isSame(file: FileHandle, a: TarMember, b: TarMember): Promise<boolean> {
  if (a.kind === "link" || b.kind === "link") return Bun.deepEquals(a, b);
  if (a.sizeBytes !== b.sizeBytes) return false;
  const [one, other] = [Buffer.alloc(READ_BYTES), Buffer.alloc(READ_BYTES)];
  for (let at = 0; at < a.sizeBytes; at += READ_BYTES) {
    const length = Math.min(READ_BYTES, a.sizeBytes - at);
    await file.read(one, 0, length, a.offset + at);
    await file.read(other, 0, length, b.offset + at);
    if (!one.equals(other)) return false;
  }
  return true;
}

/** Throws for members inside files and links: docker unpacks the archive, and would write them elsewhere. */
export function assertNoneInside(members: ReadonlyMap<string, TarMember>, title: string): void {
  const folders = [...members.keys()].map((name) => `${name}/`).sort();
  const inside = folders.find((folder, i) => i > 0 && folder.startsWith(folders[i - 1] ?? ""));
  if (inside !== undefined) throw invalid(title, `member "${inside.slice(0, -1)}" is inside a file or link`);
}

function linkTarget(entry: TarEntry, title: string): string {
  if (entry.linkpath) return entry.linkpath;
  throw invalid(title, `the link "${entry.path}" has no target`);
}

/** Resolves a name inside the archive. Throws `ARCHIVE_INVALID` if it leaves the archive. */
function normalizeName(name: string, member: string, title: string, folder = ""): string {
  if (name.startsWith("/") || /^[A-Za-z]:/.test(name))
    throw invalid(title, `member "${member}" has the absolute path "${name}"`);
  const parts: string[] = [];
  for (const part of `${folder}${name}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw invalid(title, `member "${member}" points outside the archive`);
  }
  return parts.join("/");
}

/** Creates a function that fills a buffer from a position, and reads ahead. It throws `ARCHIVE_INVALID` at the end. */
function headerReader(file: FileHandle, title: string) {
  let window = Buffer.alloc(READ_BYTES);
  let start = 0;
  let end = 0;
  return async (buffer: Uint8Array, position: number): Promise<void> => {
    if (position < start || position + buffer.length > end) {
      if (buffer.length > window.length) window = Buffer.alloc(buffer.length);
      start = position;
      end = position;
      while (end < start + buffer.length) {
        const { bytesRead } = await file.read(window, end - start, window.length - (end - start), end);
        if (bytesRead === 0) throw endedEarly(title, end, window.subarray(0, end - start));
        end += bytesRead;
      }
    }
    window.copy(buffer, 0, position - start);
  };
}
