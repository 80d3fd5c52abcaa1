// Import only these modules: the whole package takes several times as long to load.
import { Header } from "tar/header";
import { Pax } from "tar/pax";
import { messageOf, PushError } from "../../errors.ts";

const BLOCK_BYTES = 512;
/** Extended headers hold names and numbers. The limit protects our memory from malicious archives. */
const MAX_EXTENDED_HEADER_BYTES = 1024 * 1024;

/** GNU tar and Go ignore the header's size for these types. */
const HAS_NO_BODY = new Set<EntryType>(["Link", "SymbolicLink", "Directory"]);

/** These entries are no members, but describe the members after them. */
const IS_EXTENDED_HEADER = new Set<EntryType>([
  "ExtendedHeader",
  "OldExtendedHeader",
  "GlobalExtendedHeader",
  "NextFileHasLongPath",
  "OldGnuLongPath",
  "NextFileHasLongLinkpath",
]);

type EntryType = Header["type"];

/** Fills the buffer from a position in an archive. Positions only increase. Throws if the archive ends too early. */
type Read = (buffer: Buffer, position: number) => Promise<void>;

/** A member of an archive. Offset and size are of its content, in bytes. */
export type TarEntry = {
  readonly type: EntryType;
  readonly path: string;
  /** The target of a link. */
  readonly linkpath: string | undefined;
  readonly offset: number;
  readonly sizeBytes: number;
};

/**
 * Yields the members of a tar archive in order, with extended headers applied. Skips their contents. Throws
 * `ARCHIVE_INVALID`.
 *
 * @param title the archive's name in messages, such as `archive "output.tar"`
 */
export async function* readTarEntries(read: Read, title: string): AsyncGenerator<TarEntry> {
  const block = Buffer.alloc(BLOCK_BYTES);
  const extended: ExtendedHeaders = {};
  let position = 0;
  for (;;) {
    await read(block, position);
    const header = decodeHeader(block, extended, title, position);
    if (header.nullBlock) return;
    const entry = decodeEntry(header, extended, position, title);
    if (IS_EXTENDED_HEADER.has(entry.type)) {
      await readExtendedHeader(read, entry, extended, title);
    } else {
      yield entry;
      delete extended.next;
    }
    position = entry.offset + Math.ceil(entry.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

/** Extended headers override fields of the next member's header (`next`) or of all members after them (`global`). */
type ExtendedHeaders = { next?: Pax; global?: Pax };

function decodeHeader(
  block: Buffer,
  { next, global }: ExtendedHeaders,
  title: string,
  offset: number,
): Header {
  let header: Header;
  try {
    // Pass the extended headers: without their name, a name cut after a slash would make the member a directory.
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
  position: number,
  title: string,
): TarEntry {
  const { type, size } = header;
  // tar's Header prepends the ustar prefix even to an extended path, and ignores an extended linkpath, so both are read
  // from the extended headers. Like tar, ignore a global path: it would apply to every member.
  const isMember = !IS_EXTENDED_HEADER.has(type);
  const path = (isMember ? next?.path : undefined) ?? header.path;
  const linkpath = next?.linkpath ?? global?.linkpath ?? header.linkpath;
  if (path === undefined || path === "") throw invalid(title, `the member at byte ${position} has no name`);
  if (size === undefined) throw invalid(title, `member "${path}" has no size`);
  if (!Number.isSafeInteger(size) || size < 0) throw invalid(title, `member "${path}" has no valid size`);
  return {
    type,
    path,
    linkpath,
    offset: position + BLOCK_BYTES,
    sizeBytes: HAS_NO_BODY.has(type) ? 0 : size,
  };
}

async function readExtendedHeader(
  read: Read,
  { type, offset, sizeBytes }: TarEntry,
  extended: ExtendedHeaders,
  title: string,
): Promise<void> {
  if (sizeBytes > MAX_EXTENDED_HEADER_BYTES) {
    throw invalid(title, `the extended header before byte ${offset} has ${sizeBytes} bytes`);
  }
  const body = Buffer.alloc(sizeBytes);
  await read(body, offset);
  const text = body.toString("utf8");
  const name = text.replace(/\0.*$/s, "");
  switch (type) {
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

export function cutShort(title: string, sizeBytes: number, member?: string): PushError {
  const where = member === undefined ? "" : ` inside "${member}"`;
  return new PushError(
    "ARCHIVE_INVALID",
    `Cannot read the ${title}: the archive is cut short${where}, after ${sizeBytes} bytes.`,
    { hint: "Save or copy it again, and check that the disk was not full." },
  );
}

/** Creates the error for an archive that is no valid image. */
export function invalid(title: string, problem: string, cause?: unknown): PushError {
  return new PushError("ARCHIVE_INVALID", `Cannot read the ${title}: ${problem}.`, {
    hint: "It should be an archive that docker save wrote.",
    cause,
  });
}
