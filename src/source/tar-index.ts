import { type FileHandle, open } from "node:fs/promises";
import { Header, Pax, ReadEntry } from "tar";
import { messageOf, PushError } from "../errors.ts";

const BLOCK_BYTES = 512;
/** Extended headers hold names and numbers. A larger one is an attack on our memory. */
const MAX_EXTENDED_HEADER_BYTES = 1024 * 1024;

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
 * Throws `ARCHIVE_INVALID`, naming the member, for whatever an image cannot hold or that leads out of the
 * archive, and where the archive ends too early.
 */
export async function indexTar(path: string): Promise<Map<string, TarMember>> {
  const file = await open(path, "r");
  try {
    return await readMembers(file, (await file.stat()).size, path);
  } finally {
    await file.close();
  }
}

async function readMembers(
  file: FileHandle,
  archiveBytes: number,
  path: string,
): Promise<Map<string, TarMember>> {
  const members = new Map<string, TarMember>();
  const block = Buffer.alloc(BLOCK_BYTES);
  const extended: ExtendedHeaders = {};
  let offset = 0;
  for (;;) {
    if (offset + BLOCK_BYTES > archiveBytes) throw cutShort(path, archiveBytes);
    await readFully(file, block, offset, path);
    const header = decodeHeader(block, path, offset);
    if (header.nullBlock) return members;
    const entry = decodeEntry(header, extended, path, offset);
    const bodyOffset = offset + BLOCK_BYTES;
    if (entry.size > archiveBytes - bodyOffset) throw cutShort(path, archiveBytes, entry.path);

    if (entry.meta) {
      await readExtendedHeader(file, entry, bodyOffset, extended, path);
    } else {
      const member = memberOf(entry, bodyOffset, path);
      if (member !== undefined) members.set(normalizeName(entry.path, entry.path, path), member);
      delete extended.next;
    }
    offset = bodyOffset + Math.ceil(entry.size / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

/** Extended headers say what the next member's own header has no room for; global ones hold until replaced. */
type ExtendedHeaders = { next?: Pax; global?: Pax };

function decodeHeader(block: Buffer, path: string, offset: number): Header {
  let header: Header;
  try {
    header = new Header(block);
  } catch (cause) {
    throw invalid(path, `the header at byte ${offset} cannot be read: ${messageOf(cause)}`, cause);
  }
  if (!header.nullBlock && !header.cksumValid) {
    throw invalid(path, offset === 0 ? "it is not a tar archive" : `the header at byte ${offset} is damaged`);
  }
  return header;
}

function decodeEntry(
  header: Header,
  { next, global }: ExtendedHeaders,
  path: string,
  offset: number,
): ReadEntry {
  if (header.path === undefined || header.path === "")
    throw invalid(path, `the member at byte ${offset} has no name`);
  if (header.size === undefined) throw invalid(path, `member "${header.path}" has no size`);
  // ReadEntry puts header and extended header together; Header.path alone is wrong where a ustar prefix meets
  // an extended path.
  const entry = new ReadEntry(header, next, global);
  if (!Number.isSafeInteger(entry.size) || entry.size < 0)
    throw invalid(path, `member "${entry.path}" has no valid size`);
  return entry;
}

async function readExtendedHeader(
  file: FileHandle,
  entry: ReadEntry,
  offset: number,
  extended: ExtendedHeaders,
  path: string,
): Promise<void> {
  if (entry.size > MAX_EXTENDED_HEADER_BYTES) {
    throw invalid(path, `the extended header before byte ${offset} has ${entry.size} bytes`);
  }
  const body = Buffer.alloc(entry.size);
  await readFully(file, body, offset, path);
  const text = body.toString("utf8");
  const name = text.replace(/\0.*$/s, "");
  switch (entry.type) {
    case "ExtendedHeader":
    case "OldExtendedHeader":
      extended.next = Pax.parse(text, extended.next);
      break;
    case "GlobalExtendedHeader":
      extended.global = Pax.parse(text, extended.global, true);
      break;
    case "NextFileHasLongPath":
    case "OldGnuLongPath":
      extended.next = new Pax({ ...extended.next, path: name });
      break;
    case "NextFileHasLongLinkpath":
      extended.next = new Pax({ ...extended.next, linkpath: name });
      break;
  }
}

function memberOf(entry: ReadEntry, offset: number, path: string): TarMember | undefined {
  switch (entry.type) {
    case "File":
    case "OldFile":
    case "ContiguousFile":
      return { kind: "file", offset, sizeBytes: entry.size };
    case "SymbolicLink": {
      const folder = entry.path.includes("/") ? entry.path.replace(/[^/]*\/*$/, "") : "";
      return { kind: "link", target: normalizeName(linkTarget(entry, path), entry.path, path, folder) };
    }
    case "Link":
      return { kind: "link", target: normalizeName(linkTarget(entry, path), entry.path, path) };
    case "Directory":
      normalizeName(entry.path, entry.path, path);
      return undefined;
    default:
      throw invalid(path, `member "${entry.path}" is a ${entry.type}, which no image archive holds`);
  }
}

function linkTarget(entry: ReadEntry, path: string): string {
  if (entry.linkpath) return entry.linkpath;
  throw invalid(path, `the link "${entry.path}" leads nowhere`);
}

/** Resolves a name inside the archive: what would leave it is refused. */
function normalizeName(name: string, member: string, path: string, folder = ""): string {
  if (name.startsWith("/") || /^[A-Za-z]:/.test(name))
    throw invalid(path, `member "${member}" has the absolute path "${name}"`);
  const parts: string[] = [];
  for (const part of `${folder}${name}`.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) throw invalid(path, `member "${member}" leads out of the archive`);
  }
  return parts.join("/");
}

async function readFully(file: FileHandle, buffer: Buffer, position: number, path: string): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw cutShort(path, position + done);
    done += bytesRead;
  }
}

function cutShort(path: string, sizeBytes: number, member?: string): PushError {
  const where = member === undefined ? "" : ` inside "${member}"`;
  return new PushError(
    "ARCHIVE_INVALID",
    `Cannot read "${path}": the archive is cut short${where}, after ${sizeBytes} bytes.`,
    {
      hint: "Save or copy it again, and check that the disk was not full.",
    },
  );
}

function invalid(path: string, problem: string, cause?: unknown): PushError {
  return new PushError("ARCHIVE_INVALID", `Cannot read "${path}": ${problem}.`, {
    hint: "It should be an archive that docker save wrote.",
    cause,
  });
}
