import { type FileHandle, open } from "node:fs/promises";
import { Header, Pax, ReadEntry } from "tar";
import { messageOf, PushError } from "../errors.ts";
import { fileError } from "../file-error.ts";

const BLOCK_BYTES = 512;
/** Extended headers hold names and numbers. A larger one is an attack on our memory. */
const MAX_EXTENDED_HEADER_BYTES = 1024 * 1024;

/** GNU tar and Go pass over the size that a header gives to these. */
const HAS_NO_BODY: readonly string[] = ["Link", "SymbolicLink", "Directory"];

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
  const block = Buffer.alloc(BLOCK_BYTES);
  const extended: ExtendedHeaders = {};
  let offset = 0;
  for (;;) {
    if (offset + BLOCK_BYTES > archiveBytes) throw cutShort(title, archiveBytes);
    await readFully(file, block, offset, title);
    const header = decodeHeader(block, extended, title, offset);
    if (header.nullBlock) return members;
    const entry = decodeEntry(header, extended, title, offset);
    const bodyOffset = offset + BLOCK_BYTES;
    const bodyBytes = HAS_NO_BODY.includes(entry.type) ? 0 : entry.size;
    if (bodyBytes > archiveBytes - bodyOffset) throw cutShort(title, archiveBytes, entry.path);

    if (entry.meta) {
      await readExtendedHeader(file, entry, bodyOffset, extended, title);
    } else {
      const member = memberOf(entry, bodyOffset, members, title);
      if (member !== undefined) members.set(normalizeName(entry.path, entry.path, title), member);
      delete extended.next;
    }
    offset = bodyOffset + Math.ceil(bodyBytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

/** Extended headers say what the next member's own header has no room for; global ones hold until replaced. */
type ExtendedHeaders = { next?: Pax; global?: Pax };

function decodeHeader(
  block: Buffer,
  { next, global }: ExtendedHeaders,
  title: string,
  offset: number,
): Header {
  let header: Header;
  try {
    // With the extended headers, whose name counts: the header's own, cut after a slash, would look like a folder.
    header = new Header(block, 0, next, global);
  } catch (cause) {
    if (offset === 0) throw invalid(title, "it is not a tar archive", cause);
    throw invalid(title, `the header at byte ${offset} cannot be read: ${messageOf(cause)}`, cause);
  }
  if (!header.nullBlock && !header.cksumValid) {
    throw invalid(
      title,
      offset === 0 ? "it is not a tar archive" : `the header at byte ${offset} is damaged`,
    );
  }
  return header;
}

function decodeEntry(
  header: Header,
  { next, global }: ExtendedHeaders,
  title: string,
  offset: number,
): ReadEntry {
  if (header.path === undefined || header.path === "")
    throw invalid(title, `the member at byte ${offset} has no name`);
  if (header.size === undefined) throw invalid(title, `member "${header.path}" has no size`);
  // ReadEntry puts header and extended header together; Header.path alone is wrong where a ustar prefix meets
  // an extended path.
  const entry = new ReadEntry(header, next, global);
  if (!Number.isSafeInteger(entry.size) || entry.size < 0)
    throw invalid(title, `member "${entry.path}" has no valid size`);
  return entry;
}

async function readExtendedHeader(
  file: FileHandle,
  entry: ReadEntry,
  offset: number,
  extended: ExtendedHeaders,
  title: string,
): Promise<void> {
  if (entry.size > MAX_EXTENDED_HEADER_BYTES) {
    throw invalid(title, `the extended header before byte ${offset} has ${entry.size} bytes`);
  }
  const body = Buffer.alloc(entry.size);
  await readFully(file, body, offset, title);
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

function memberOf(
  entry: ReadEntry,
  offset: number,
  earlier: ReadonlyMap<string, TarMember>,
  title: string,
): TarMember | undefined {
  switch (entry.type) {
    case "File":
    case "OldFile":
    case "ContiguousFile":
      return { kind: "file", offset, sizeBytes: entry.size };
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

function linkTarget(entry: ReadEntry, title: string): string {
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

async function readFully(file: FileHandle, buffer: Buffer, position: number, title: string): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw cutShort(title, position + done);
    done += bytesRead;
  }
}

function cutShort(title: string, sizeBytes: number, member?: string): PushError {
  const where = member === undefined ? "" : ` inside "${member}"`;
  return new PushError(
    "ARCHIVE_INVALID",
    `Cannot read the ${title}: the archive is cut short${where}, after ${sizeBytes} bytes.`,
    {
      hint: "Save or copy it again, and check that the disk was not full.",
    },
  );
}

function invalid(title: string, problem: string, cause?: unknown): PushError {
  return new PushError("ARCHIVE_INVALID", `Cannot read the ${title}: ${problem}.`, {
    hint: "It should be an archive that docker save wrote.",
    cause,
  });
}
