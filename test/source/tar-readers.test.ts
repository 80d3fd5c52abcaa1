/** Whatever we read of an archive, Go and GNU tar read as well, or they read nothing of it. */
import { describe, expect, test } from "bun:test";
import { join, posix } from "node:path";
import { PushError } from "../../src/errors.ts";
import { indexTar, type TarMember } from "../../src/source/tar/members.ts";
import { FUZZ_FACTOR, FUZZ_TIMEOUT, fuzz, fuzzSeeds, HAS_MANY_CASES, seededRandom } from "../support/fuzz.ts";
import { describeWith, hasGnuTar } from "../support/needs.ts";
import { rejection } from "../support/rejection.ts";
import {
  type FixtureMember,
  gnuLongMember,
  memberBytes,
  paxMember,
  tarBytes,
} from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { mutatedTar } from "./mutated-tar.ts";

/** Names and link targets as the index has them; of files, the hash of their content. */
type Reading = Record<string, string>;

const inner = memberBytes({ path: "inner", body: "x" });
const file = { path: "a", body: "content" };

describe("a tar archive is refused that Go and GNU tar read differently:", () => {
  const cases: [what: string, members: FixtureMember[], problem: RegExp][] = [
    ["a file with a folder's name", [{ path: "d/", body: inner }], /"d\/" is a file with a folder's name/],
    ["an empty file with a folder's name", [{ path: "d/" }], /with a folder's name/],
    ["a contiguous file with a folder's name", [{ path: "d/", flag: "7" }], /with a folder's name/],
    ["an old file with a folder's name", [{ path: "d/", flag: "\0", body: inner }], /with a folder's name/],
    [
      "a folder's name by PAX",
      [paxMember({ path: "d/" }), { path: "x", body: inner }],
      /with a folder's name/,
    ],
    [
      "a folder's name by GNU",
      [gnuLongMember("L", "d/"), { path: "x", body: inner }],
      /with a folder's name/,
    ],
    ["a symlink with a body", [{ path: "l", flag: "2", linkpath: "a", body: inner }], /"l" is a link of/],
    [
      "a hard link with a PAX size",
      [paxMember({ size: "1024" }), { path: "l", flag: "1", linkpath: "a", body: inner, sizeBytes: 0 }],
      /"l" is a link of/,
    ],
    [
      "a sparse file by PAX",
      [paxMember({ "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "b" }), file],
      /"GNU.sparse.major"/,
    ],
    ["a size for all members", [paxMember({ size: "1024" }, "g"), file], /sets "size" for all/],
    ["a name for all members", [paxMember({ path: "b" }, "g"), file], /sets "path" for all/],
    ["a link target for all members", [paxMember({ linkpath: "b" }, "g"), file], /sets "linkpath" for all/],
    ["two PAX headers", [paxMember({ path: "b" }), paxMember({ mtime: "1" }), file], /has two of them/],
    [
      "a name by PAX and by GNU",
      [paxMember({ path: "b" }), gnuLongMember("L", "c"), file],
      /"path" is set twice/,
    ],
    [
      "a name by GNU and by PAX",
      [gnuLongMember("L", "c"), paxMember({ path: "b" }), file],
      /"path" is set twice/,
    ],
    [
      "a global PAX header between a member and",
      [paxMember({ path: "b" }), paxMember({ comment: "c" }, "g"), file],
      /between a member and/,
    ],
    ["an empty name by PAX", [paxMember({ path: "" }), file], /"path" is empty/],
    ["an empty name by GNU", [gnuLongMember("L", ""), file], /"path" is empty/],
    ["a name by GNU without an end", [{ path: "p", flag: "L", body: "b" }, file], /does not end/],
    [
      "a name that is set twice in a PAX header",
      [{ path: "p", flag: "x", body: "10 path=b\n10 path=c\n" }, file],
      /"path" is set twice/,
    ],
    [
      "a size that is set twice",
      [{ path: "p", flag: "x", body: "10 size=3\n10 size=4\n" }, file],
      /"size" twice/,
    ],
    ["a damaged PAX header", [{ path: "p", flag: "x", body: "garbage" }, file], /is damaged/],
    ["a PAX record beyond the end", [{ path: "p", flag: "x", body: "99 path=b\n" }, file], /is damaged/],
    ["bytes after PAX records", [{ path: "p", flag: "x", body: "10 path=b\n\0\0" }, file], /is damaged/],
    ["a PAX size with a sign", [paxMember({ size: "+3" }), file], /"a" has no valid size/],
    ["a PAX size in another base", [paxMember({ size: "0x3" }), file], /"a" has no valid size/],
    ["an old extended header", [{ ...paxMember({ path: "b" }), flag: "X" }, file], /is a OldExtendedHeader/],
    ["an old long name", [{ ...gnuLongMember("L", "b"), flag: "N" }, file], /is a OldGnuLongPath/],
    [
      "a size with a space inside",
      [{ ...file, change: (h) => h.write("10 7", 124) }],
      /"a" has no valid size/,
    ],
    [
      "another version of ustar",
      [{ ...file, prefix: "p", change: (h) => h.write("  ", 263) }],
      /format is unknown/,
    ],
    [
      "a prefix in GNU's format",
      [{ ...file, prefix: "p", change: (h) => h.write("ustar  \0", 257) }],
      /number in it is invalid/,
    ],
    [
      "star's format",
      [{ ...file, prefix: "p".repeat(140), change: (h) => h.write("tar\0", 508) }],
      /format is unknown/,
    ],
    ["a name that is not UTF-8", [{ ...file, change: (h) => h.writeUInt8(0xff, 0) }], /not UTF-8/],
    ["two members of a name", [file, { path: "./a", body: "another" }], /two members "a" that differ/],
    [
      "two members of a name and a length",
      [file, { path: "a", body: "CONTENT" }],
      /two members "a" that differ/,
    ],
    ["a file and a link of a name", [file, { path: "a", flag: "2", linkpath: "b" }], /two members "a" that/],
    [
      "a member inside of a link",
      [file, { path: "l", flag: "2", linkpath: "." }, { path: "l/a", body: "another" }],
      /"l\/a" is inside a file or link/,
    ],
    ["a member inside of a file", [{ path: "a/b" }, { path: "a-b" }, file], /"a\/b" is inside a file/],
  ];
  test.each(cases)("%s", async (_, members, problem) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "x.tar");
    await Bun.write(path, tarBytes([...members, { path: "next", body: "n" }]));
    const error = await rejection(indexTar(path, "archive"));
    expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringMatching(problem)]);
  });

  test("one with a block that is empty but for its checksum, which is no end of an archive", async () => {
    const block = Buffer.alloc(512);
    block.write("zzzz", 148);
    const bytes = Buffer.concat([
      memberBytes(file),
      block,
      memberBytes({ path: "next" }),
      Buffer.alloc(1024),
    ]);
    await using folder = await temporaryFolder();
    const path = join(folder.path, "x.tar");
    await Bun.write(path, bytes);
    expect((await rejection(indexTar(path, "archive"))).message).toContain("byte 1024 is damaged");
  });
});

describe("a tar archive is read as Go and GNU tar do with", () => {
  const cases: [what: string, members: FixtureMember[], names: string[]][] = [
    ["a PAX value with line breaks", [paxMember({ comment: "1\n12 path=evil\n" }), file], ["a"]],
    ["a name with a line break by PAX", [paxMember({ path: "b\nc" }), file], ["b\nc"]],
    ["a line break after the end of a name", [{ ...file, path: "b\0\nc" }], ["b"]],
    [
      "a name that the header cuts inside a character",
      [gnuLongMember("L", "é".repeat(60)), { ...file, path: "é".repeat(60) }],
      ["é".repeat(60)],
    ],
    [
      "a folder whose whole name is in the prefix, as Python writes it",
      [{ path: "", prefix: "d", flag: "5" }, file],
      ["a"],
    ],
    ["a member that was packed twice", [file, file], ["a"]],
    ["a global PAX header that says nothing of members", [paxMember({ comment: "c" }, "g"), file], ["a"]],
  ];
  test.each(cases)("%s", async (_, members, names) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "x.tar");
    await Bun.write(path, tarBytes(members));
    expect([...(await indexTar(path, "archive")).keys()]).toEqual(names);
  });
});

test(
  "mutated archives are read or refused, with no other error",
  async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "x.tar");
    let read = 0;
    await fuzz(3000, async (random) => {
      await Bun.write(path, mutatedTar(random));
      if ((await readOurs(path)) !== undefined) read++;
    });
    if (HAS_MANY_CASES) expect(read).toBeGreaterThan(100 * FUZZ_FACTOR);
  },
  FUZZ_TIMEOUT,
);

describeWith("go", "Go", () => {
  test(
    "reads mutated archives as we do, or not at all",
    async () => {
      await using folder = await temporaryFolder();
      let both = 0;
      const paths = await writeMutated(folder.path, 3000);
      const program = join(folder.path, "read-tar");
      await run(["go", "build", "-o", program, join(import.meta.dir, "read-tar.go")]);
      const lines = (await run([program], paths.join("\n"))).trimEnd().split("\n");
      for (const [i, path] of paths.entries()) {
        const go = JSON.parse(lines[i] ?? "") as {
          members: { Type: string; Name: string; Target: string; Hash: string }[];
          failed: boolean;
        };
        const ours = await readOurs(path);
        if (ours === undefined || go.failed) continue;
        both++;
        const theirs: Reading = {};
        for (const { Type, Name, Target, Hash } of go.members) {
          const name = cleanName(Name);
          if (Type === "0" || Type === "7") theirs[name] = Hash;
          else if (Type === "1") theirs[name] = theirs[cleanName(Target)] ?? linkTo(Target);
          else if (Type === "2")
            theirs[name] = linkTo(`${name.slice(0, name.lastIndexOf("/") + 1)}${Target}`);
        }
        expect({ path, ...ours }).toEqual({ path, ...theirs });
      }
      if (HAS_MANY_CASES) expect(both).toBeGreaterThan(100 * FUZZ_FACTOR);
    },
    FUZZ_TIMEOUT,
  );
});

test.skipIf(!hasGnuTar())(
  "GNU tar reads mutated archives as we do, or complains",
  async () => {
    await using folder = await temporaryFolder();
    let both = 0;
    for (const path of await writeMutated(folder.path, 1000)) {
      const ours = await readOurs(path);
      if (ours === undefined) continue;
      const tar = Bun.spawnSync(["tar", "--quoting-style=escape", "-xOvvPf", path], {
        env: { ...process.env, LC_ALL: "C" },
      });
      if (tar.exitCode !== 0) continue;
      both++;
      const theirs: Reading = {};
      let at = 0;
      for (const line of tar.stderr.toString().trimEnd().split("\n")) {
        const [, type = "", size, rest = ""] = /^([-Cdhl])\S+ +\S+ +(\d+) +\S+ \S+ (.*)$/.exec(line) ?? [];
        const [name = "", target = ""] = rest
          .split(/ link to | -> /)
          .map((text) => cleanName(unescaped(text)));
        if (type === "-" || type === "C") {
          theirs[name] = hashOf(tar.stdout.subarray(at, at + Number(size)));
          at += Number(size);
        } else if (type === "h") theirs[name] = theirs[target] ?? linkTo(target);
        else if (type === "l") theirs[name] = linkTo(`${name.slice(0, name.lastIndexOf("/") + 1)}${target}`);
      }
      expect({ path, ...ours }).toEqual({ path, ...theirs });
    }
    if (HAS_MANY_CASES) expect(both).toBeGreaterThan(30 * FUZZ_FACTOR);
  },
  FUZZ_TIMEOUT,
);

async function writeMutated(folder: string, cases: number): Promise<string[]> {
  return Promise.all(
    fuzzSeeds(cases).map(async (seed) => {
      const path = join(folder, `CHUNKPUSH_FUZZ_SEED=${seed}.tar`);
      await Bun.write(path, mutatedTar(seededRandom(seed)));
      return path;
    }),
  );
}

/** What we read. Undefined if we refuse the archive. */
async function readOurs(path: string): Promise<Reading | undefined> {
  const members = await indexTar(path, "archive").catch((error: unknown) => {
    if (error instanceof PushError && error.code === "ARCHIVE_INVALID") return undefined;
    throw error;
  });
  const content = Buffer.from(await Bun.file(path).bytes());
  const read = (member: TarMember) =>
    member.kind === "link"
      ? linkTo(member.target)
      : hashOf(content.subarray(member.offset, member.offset + member.sizeBytes));
  return members && Object.fromEntries([...members].map(([name, member]) => [name, read(member)]));
}

const hashOf = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

const linkTo = (target: string) => `link to ${cleanName(target)}`;

function cleanName(name: string): string {
  return posix.join(name).replace(/^\.?\/$|^\.$|\/$/g, "");
}

/** Undoes GNU tar's `--quoting-style=escape`. */
function unescaped(text: string): string {
  const bytes = text.replace(/\\(\d{3}|.)/g, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : code === "n" ? "\n" : code,
  );
  return Buffer.from(bytes, "latin1").toString();
}

async function run(command: string[], input = ""): Promise<string> {
  const child = Bun.spawn(command, { stdin: new Blob([input]), stdout: "pipe", stderr: "inherit" });
  const output = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`${command[0]} ended with ${child.exitCode}`);
  return output;
}
