import { messageOf, PushError } from "../../errors.ts";
import { otherFile } from "../files/not-image.ts";
import { type Overrides, override, readPax } from "./extended-header.ts";
import { decodeHeader, type EntryType, hasValidChecksum, type TarHeader } from "./header.ts";

const BLOCK_BYTES = 512;
/** Extended headers hold names and numbers. The limit, Go's own, protects our memory from malicious archives. */
const MAX_EXTENDED_HEADER_BYTES = 1024 * 1024;

/** Images have far fewer members: about three for each layer. The limits bound our time and memory. */
const MAX_MEMBERS = 100_000;
const MAX_NAMES_CHARACTERS = 64 * 1024 * 1024;

/** Fills the buffer from a position in an archive. Positions only increase. Throws if the archive ends too early. */
type Read = (buffer: Uint8Array, position: number) => Promise<void>;

/** A member of an archive. Offset and size are of its content, in bytes. */
export type TarEntry = {
  readonly kind: "file" | "link" | "symlink" | "folder";
  readonly path: string;
  /** The target of a link. */
  readonly linkpath: string;
  readonly offset: number;
  readonly sizeBytes: number;
};

const KINDS: Partial<Record<EntryType, TarEntry["kind"]>> = {
  File: "file",
  ContiguousFile: "file",
  Link: "link",
  SymbolicLink: "symlink",
  Directory: "folder",
};

/**
 * Yields the members of a tar archive in order, with extended headers applied. Skips their contents. Throws
 * `SOURCE_NOT_IMAGE` for anything but a tar archive, and `ARCHIVE_INVALID`, also for types that no image contains, for too
 * many members, and for headers that Go and GNU tar read differently.
 *
 * @param title the archive's name in messages, such as `archive "output.tar"`
 */
export async function* readTarEntries(read: Read, title: string): AsyncGenerator<TarEntry> {
  const block = Buffer.alloc(BLOCK_BYTES);
  let overrides: Overrides = {};
  let position = 0;
  let count = 0;
  let nameCharacters = 0;
  for (;;) {
    await read(block, position);
    if (block.every((byte) => byte === 0)) return;
    const header = readHeader(block, position, title);
    const offset = position + BLOCK_BYTES;
    let sizeBytes = header.size ?? Number.NaN;
    if (isExtendedHeader(header.type)) {
      if (!(sizeBytes <= MAX_EXTENDED_HEADER_BYTES))
        throw invalid(title, `the extended header before byte ${offset} is too large: ${sizeBytes} bytes`);
      const body = Buffer.alloc(sizeBytes);
      await read(body, offset);
      try {
        readExtendedHeader(header.type, body, overrides);
      } catch (cause) {
        throw invalid(
          title,
          `the extended header before byte ${offset} cannot be read: ${messageOf(cause)}`,
          cause,
        );
      }
    } else {
      const entry = entryOf(header, overrides, offset, title);
      ({ sizeBytes } = entry);
      nameCharacters += entry.path.length + entry.linkpath.length;
      if (++count > MAX_MEMBERS) throw invalid(title, `it has more than ${MAX_MEMBERS} members`);
      if (nameCharacters > MAX_NAMES_CHARACTERS)
        throw invalid(title, "the names of its members are too long");
      yield entry;
      overrides = {};
    }
    position = offset + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

function readHeader(block: Buffer, position: number, title: string): TarHeader {
  if (!hasValidChecksum(block)) {
    if (position > 0) throw invalid(title, `the header at byte ${position} is damaged`);
    throw otherFile(title, block) ?? invalid(title, "it is not a tar archive");
  }
  try {
    return decodeHeader(block);
  } catch (cause) {
    throw invalid(title, `the header at byte ${position} cannot be read: ${messageOf(cause)}`, cause);
  }
}

const EXTENDED_HEADERS = [
  "ExtendedHeader",
  "GlobalExtendedHeader",
  "NextFileHasLongPath",
  "NextFileHasLongLinkpath",
] as const;

function isExtendedHeader(type: EntryType): type is (typeof EXTENDED_HEADERS)[number] {
  return EXTENDED_HEADERS.some((each) => each === type);
}

function readExtendedHeader(
  type: (typeof EXTENDED_HEADERS)[number],
  body: Buffer,
  overrides: Overrides,
): void {
  if (type === "ExtendedHeader") readPax(body, overrides);
  else if (type === "NextFileHasLongPath") override(overrides, "path", longName(body));
  else if (type === "NextFileHasLongLinkpath") override(overrides, "linkpath", longName(body));
  // Go forgets an extended header that stands before a global one.
  else if (Object.keys(overrides).length > 0)
    throw new Error("it stands between a member and the extended header of that member");
  else readPax(body, undefined);
}

/** Checks a name. GNU tar reads a name without a NUL beyond its end. */
function longName(body: Buffer): Buffer {
  if (!body.includes(0)) throw new Error("its name does not end");
  return body;
}

function entryOf(header: TarHeader, overrides: Overrides, offset: number, title: string): TarEntry {
  const { path, linkpath, size } = { ...header, ...overrides };
  if (path === undefined || linkpath === undefined)
    throw invalid(title, `a name of the member before byte ${offset} is not UTF-8`);
  if (path === "") throw invalid(title, `the member before byte ${offset} has no name`);
  const kind = KINDS[header.type];
  if (kind === undefined)
    throw invalid(title, `member "${path}" is a ${header.type}, which image archives do not contain`);
  if (size === undefined || !Number.isSafeInteger(size))
    throw invalid(title, `member "${path}" has no valid size`);
  // Some readers skip the body of such a member, and others read it as the next member.
  if (kind === "file" && path.endsWith("/"))
    throw invalid(title, `member "${path}" is a file with a folder's name`);
  if (size > 0 && (kind === "symlink" || (kind === "link" && overrides.size !== undefined)))
    throw invalid(title, `member "${path}" is a link of ${size} bytes`);
  return { kind, path, linkpath, offset, sizeBytes: kind === "file" ? size : 0 };
}

/** Creates the error for an archive that ends too early. */
export function cutShort(title: string, sizeBytes: number, member?: string): PushError {
  const where = member === undefined ? "" : ` inside "${member}"`;
  return new PushError(
    "ARCHIVE_INVALID",
    `Cannot read the ${title}: it is ${sizeBytes === 0 ? "empty" : `cut short${where}, after ${sizeBytes} bytes`}.`,
    {
      hint:
        sizeBytes === 0
          ? "The program that was to write it has failed: see its own message. Or the disk is full."
          : "Save or copy it again, and check that the disk is not full.",
    },
  );
}

/**
 * Creates the error for a file that ends within a block: a truncated archive, or a file of another kind.
 *
 * @param start the file's first bytes
 */
export function endedEarly(title: string, sizeBytes: number, start: Uint8Array): PushError {
  return (sizeBytes < BLOCK_BYTES ? otherFile(title, start) : undefined) ?? cutShort(title, sizeBytes);
}

/** Creates the error for an archive that is no valid image. */
export function invalid(title: string, problem: string, cause?: unknown): PushError {
  return new PushError("ARCHIVE_INVALID", `Cannot read the ${title}: ${problem}.`, {
    hint: "Save the image again: docker save my/app:v1 --output image.tar",
    cause,
  });
}
