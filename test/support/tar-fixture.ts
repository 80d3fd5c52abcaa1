/** Tar archives byte by byte, the wrong ones included that no tar program would write. */

const BLOCK_BYTES = 512;

/** One header and its body. What is not given is what a decent archive has. */
export type FixtureMember = {
  readonly path: string;
  readonly body?: string | Uint8Array;
  /** The raw type flag: "0" file, "1" hardlink, "2" symlink, "5" folder, … */
  readonly flag?: string;
  readonly linkpath?: string;
  readonly prefix?: string;
  /** What the header says, where that is not the body's size. From 8 GiB on, and below zero, it is written in base 256. */
  readonly sizeBytes?: number;
  /** A last change, before the checksum is computed. */
  readonly change?: (header: Buffer) => void;
  readonly isChecksumWrong?: boolean;
};

/** A whole archive: its members, and two empty blocks. */
export function tarBytes(members: readonly FixtureMember[]): Buffer<ArrayBuffer> {
  return Buffer.concat([...members.map(memberBytes), Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** A member with its padding: archives that end before they should are put together from these. */
export function memberBytes(member: FixtureMember): Buffer<ArrayBuffer> {
  const body = Buffer.from(member.body ?? "");
  const padding = Buffer.alloc((BLOCK_BYTES - (body.length % BLOCK_BYTES)) % BLOCK_BYTES);
  return Buffer.concat([headerBytes(member, body.length), body, padding]);
}

/** The PAX header of the member that follows it; `g` for all that follow. */
export function paxMember(records: Readonly<Record<string, string>>, flag: "x" | "g" = "x"): FixtureMember {
  const body = Object.entries(records)
    .map(([key, value]) => paxRecord(key, value))
    .join("");
  return { path: "PaxHeaders/next", flag, body };
}

/** GNU's own way: `L` is the long name, and `K` the long link target, of the member that follows. */
export function gnuLongMember(flag: "L" | "K", text: string): FixtureMember {
  return { path: "././@LongLink", flag, body: `${text}\0` };
}

function headerBytes(member: FixtureMember, bodyBytes: number): Buffer<ArrayBuffer> {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(member.path, 0, 100);
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  writeSize(header, member.sizeBytes ?? bodyBytes);
  header.write("00000000000\0", 136);
  header.write(member.flag ?? "0", 156, 1);
  header.write(member.linkpath ?? "", 157, 100);
  header.write("ustar\x0000", 257);
  header.write(member.prefix ?? "", 345, 155);
  member.change?.(header);
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0) + (member.isChecksumWrong ? 1 : 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

function writeSize(header: Buffer, sizeBytes: number): void {
  if (sizeBytes >= 0 && sizeBytes < 8 ** 11) {
    header.write(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124);
    return;
  }
  // Two's complement, the first bit set to tell it from octal digits.
  let rest = BigInt.asUintN(88, BigInt(sizeBytes));
  for (let at = 135; at > 124; at--) {
    header[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  header[124] = sizeBytes < 0 ? 0xff : 0x80;
}

/** `<length> <key>=<value>\n`, whose length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const digits = [1, 2, 3, 4, 5, 6, 7].find((count) => String(bytes + count).length === count) ?? 0;
  return `${bytes + digits}${rest}`;
}
