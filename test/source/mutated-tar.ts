/** Archives as engines write them, with a few things wrong: for all that a reader may take differently than another. */
import type { Random } from "../support/fuzz.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type FixtureMember, gnuLongMember, memberBytes, paxMember } from "../support/tar-fixture.ts";

const NAMES = ["manifest.json", "a", "a/b", "d/", "blobs/sha256/0", "./a", "d/../x", "é", "a\nb", "l", ""];
const SIZES = [
  "0",
  "1",
  "512",
  "513",
  "1024",
  "007",
  "+1",
  " 2",
  "3 ",
  "-1",
  "1.5",
  "1e3",
  "0x10",
  "9e99",
  "",
];
const OCTALS = [
  "1000",
  "0001000\0",
  "      777",
  "1000 \x007",
  "10 7",
  "8",
  "zz",
  "",
  "\x000001000",
  "-1",
  "7777",
];
const FLAGS = [
  "0",
  "\0",
  "1",
  "2",
  "3",
  "4",
  "5",
  "6",
  "7",
  "g",
  "x",
  "L",
  "K",
  "S",
  "X",
  "N",
  "D",
  "V",
  "M",
  "I",
  "A",
  "q",
];
const MAGICS = [
  "ustar\x0000",
  "ustar  \0",
  "ustar\0  ",
  "ustar\x0001",
  "\0\0\0\0\0\0\0\0",
  "ustar 00",
  "USTAR\x0000",
];
const PAX_KEYS = [
  "path",
  "linkpath",
  "size",
  "comment",
  "hdrcharset",
  "GNU.sparse.major",
  "GNU.sparse.minor",
  "GNU.sparse.name",
  "GNU.sparse.realsize",
  "GNU.sparse.map",
  "GNU.sparse.size",
  "GNU.sparse.numblocks",
  "mtime",
  "SCHILY.xattr.user.x",
  "SCHILY.realsize",
];
/** Starts of fields: of all numbers, names and marks. */
const FIELDS = [
  0, 99, 100, 108, 116, 124, 135, 136, 148, 156, 157, 257, 263, 265, 297, 329, 337, 345, 357, 475, 476, 483,
  500, 508,
];

export function mutatedTar(random: Random): Buffer {
  const members = Array.from({ length: 1 + random.below(5) }, () => randomMembers(random)).flat();
  const parts = members.map((member) =>
    memberBytes(random.below(3) === 0 ? spoiled(member, random) : member),
  );
  if (random.below(8) === 0) parts.splice(random.below(parts.length), 1);
  if (random.below(8) === 0) parts.push(...parts.slice(random.below(parts.length)));
  if (random.below(12) === 0) parts.splice(random.below(parts.length + 1), 0, Buffer.alloc(512));
  const end = random.below(10) === 0 ? random.below(3) * 512 : 1024;
  const bytes = Buffer.concat([...parts, Buffer.alloc(end)]);
  if (random.below(10) === 0) return bytes.subarray(0, random.below(bytes.length + 1));
  if (random.below(10) === 0) bytes[random.below(bytes.length + 1)] = random.below(256);
  return bytes;
}

function randomMembers(random: Random): FixtureMember[] {
  const path = random.pick(NAMES);
  // Content that is itself a member shows a reader that walks another way.
  const inner = memberBytes({ path: "inner", body: "i" });
  const body = random.pick([inner, "", "x", seededBytes(random.below(1500), random.below(99))]);
  const flag = random.below(3) > 0 ? "0" : random.pick(FLAGS);
  const member = { path, body, flag, linkpath: random.pick(["", "a", "../a", "b"]) };
  switch (random.below(6)) {
    case 0:
      return [paxMember(randomRecords(random)), member];
    case 1:
      return [gnuLongMember(random.pick(["L", "K"]), random.pick(NAMES)), member];
    case 2:
      return [paxMember(randomRecords(random), "g"), member];
    case 3:
      return [gnuLongMember("L", "long"), paxMember(randomRecords(random)), member];
    default:
      return [member];
  }
}

function randomRecords(random: Random): Record<string, string> {
  const records = Array.from({ length: 1 + random.below(3) }, () => {
    const key = random.pick(PAX_KEYS);
    const isNumber = key.includes("size") || key === "mtime" || random.below(4) === 0;
    return [key, random.pick(isNumber ? SIZES : [...NAMES, "1", "0", "a\0b", "x\n12 path=evil\n"])] as const;
  });
  return Object.fromEntries(records);
}

function spoiled(member: FixtureMember, random: Random): FixtureMember {
  switch (random.below(6)) {
    case 0:
      return { ...member, sizeBytes: random.pick([-1, -512, 0, 1, 512, 1024, 2 ** 33, 2 ** 60]) };
    case 1:
      return { ...member, change: (header) => header.write(random.pick(OCTALS), 124, "latin1") };
    case 2:
      return { ...member, change: (header) => header.write(random.pick(MAGICS), 257, "latin1") };
    case 3:
      return { ...member, prefix: random.pick(["p", "pre/fix", "p".repeat(140), "0000000001"]) };
    case 4:
      return { ...member, change: (header) => header.writeUInt8(random.below(256), random.pick(FIELDS)) };
    default:
      return { ...member, change: (header) => header.write("tar\0", 508, "latin1") };
  }
}
