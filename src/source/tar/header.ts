import { isUtf8 } from "node:buffer";
// Import only this module: the whole package takes several times as long to load.
import { Header } from "tar/header";

export type EntryType = Header["type"];

/** A header block, decoded. Extended headers may override its fields. */
export type TarHeader = {
  readonly type: EntryType;
  /** Undefined if it is not UTF-8: a name that is cut inside a character is whole in an extended header. */
  readonly path: string | undefined;
  readonly linkpath: string | undefined;
  /** Undefined if it is negative. */
  readonly size: number | undefined;
};

const BLOCK_BYTES = 512;
const POSIX = "ustar\x0000";
const GNU = "ustar  \0";
const V7 = "\0".repeat(8);

/** The fields of a header: offset and length in bytes. https://www.gnu.org/software/tar/manual/html_node/Standard.html */
const NAME = [0, 100] as const;
const SIZE = [124, 12] as const;
const CHECKSUM = [148, 8] as const;
const LINK_NAME = [157, 100] as const;
const MAGIC = [257, 8] as const;
const PREFIX = [345, 155] as const;
const STAR_MAGIC = [508, 4] as const;
/** Mode, owner, group, time and checksum; then device numbers, and GNU's times, which take the place of the prefix. */
const NUMBERS = [[100, 8], [108, 8], [116, 8], [136, 12], CHECKSUM] as const;
const DEVICE = [
  [329, 8],
  [337, 8],
] as const;
const GNU_TIMES = [
  [345, 12],
  [357, 12],
] as const;

const OCTAL_OR_BLANK = /^[ \0]*[0-7]*[ \0]*$/;
const OCTAL = /^ *[0-7]+[ \0]*$/;

/** Tells whether a header's checksum is right. */
export function hasValidChecksum(block: Buffer): boolean {
  const [start, length] = CHECKSUM;
  let sum = length * 0x20;
  for (let i = 0; i < block.length; i++) if (i < start || i >= start + length) sum += block[i] ?? 0;
  return sum === Number.parseInt(block.toString("latin1", start, start + length), 8);
}

/** Tells whether content begins with a tar header. Ignores bytes after the first 512. */
export function isTarHeader(head: Uint8Array<ArrayBuffer>): boolean {
  const block = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, BLOCK_BYTES));
  return block.length === BLOCK_BYTES && hasValidChecksum(block);
}

/**
 * Decodes a header with a valid checksum. Throws for a header that Go, GNU tar and chunkpush do not read alike. No program
 * that writes images writes such a header.
 */
export function decodeHeader(block: Buffer): TarHeader {
  const raw = ([offset, length]: readonly [number, number]) =>
    block.toString("latin1", offset, offset + length);
  const magic = raw(MAGIC);
  // star's headers have a shorter prefix.
  if (![POSIX, GNU, V7].includes(magic) || (magic === POSIX && raw(STAR_MAGIC) === "tar\0"))
    throw new Error("its format is unknown");
  const numbers = [...NUMBERS, ...(magic === V7 ? [] : DEVICE), ...(magic === GNU ? GNU_TIMES : [])];
  const isNumber = (field: readonly [number, number]) =>
    OCTAL_OR_BLANK.test(raw(field)) || (block[field[0]] ?? 0) >= 0x80;
  if (!numbers.every(isNumber)) throw new Error("a number in it is invalid");
  // The given path keeps tar's Header from turning a file whose name ends in a slash into a folder.
  const { type, size } = new Header(block, 0, { path: "-" });
  const bytes = ([offset, length]: readonly [number, number]) => block.subarray(offset, offset + length);
  const prefix = magic === POSIX ? textOf(bytes(PREFIX)) : "";
  const name = textOf(bytes(NAME));
  const names = prefix === "" ? [name] : [prefix, name];
  return {
    type,
    path: names.includes(undefined) ? undefined : names.join("/"),
    linkpath: textOf(bytes(LINK_NAME)),
    size: OCTAL.test(raw(SIZE)) || (block[SIZE[0]] ?? 0) >= 0x80 ? size : undefined,
  };
}

/** Decodes text that ends with its first NUL. Undefined if it is not UTF-8. */
export function textOf(bytes: Buffer): string | undefined {
  const end = bytes.indexOf(0);
  const text = end < 0 ? bytes : bytes.subarray(0, end);
  return isUtf8(text) ? text.toString() : undefined;
}
