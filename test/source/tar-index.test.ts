import { describe, expect, test } from "bun:test";
import { link, mkdir, open, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Pax } from "tar";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { indexTar as indexTarAs, type TarMember } from "../../src/source/tar/members.ts";
import { hasGnuTar } from "../support/needs.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import {
  type FixtureMember,
  gnuLongMember,
  memberBytes,
  paxMember,
  tarBytes,
} from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const indexTar = (path: string) => indexTarAs(path, `archive "${path}"`);

const LONG = `${"folder/".repeat(40)}layer.tar`;
/** Its 100th character, the last that has room in a header, is a slash. */
const SLASHED = `${"f".repeat(99)}/layer.tar`;

describe("the name of a tar member", () => {
  const cases: [what: string, members: FixtureMember[], name: string][] = [
    ["plain", [{ path: "a.txt", body: "x" }], "a.txt"],
    ["a hundred characters without an end", [{ path: "n".repeat(100), body: "x" }], "n".repeat(100)],
    ["ustar prefix", [{ path: "layer.tar", prefix: "abc/def", body: "x" }], "abc/def/layer.tar"],
    [
      "ustar prefix and PAX path: the PAX path alone",
      [paxMember({ path: "real/layer.tar" }), { path: "layer.tar", prefix: "abc/def", body: "x" }],
      "real/layer.tar",
    ],
    ["PAX path", [paxMember({ path: LONG }), { path: "short", body: "x" }], LONG],
    [
      "PAX path in UTF-8, whose length counts bytes",
      [paxMember({ path: "übung/€/🐢" }), { path: "x", body: "x" }],
      "übung/€/🐢",
    ],
    [
      "PAX path with an equals sign, among other records",
      [paxMember({ mtime: "1.5", path: "a=b=c", "SCHILY.xattr.user.x": "y" }), { path: "x", body: "x" }],
      "a=b=c",
    ],
    ["GNU long name", [gnuLongMember("L", LONG), { path: "short", body: "x" }], LONG],
    [
      "GNU long name whose first hundred characters look like a folder",
      [gnuLongMember("L", SLASHED), { path: SLASHED, body: "x" }],
      SLASHED,
    ],
    [
      "PAX path whose first hundred characters look like a folder",
      [paxMember({ path: SLASHED }), { path: SLASHED, body: "x" }],
      SLASHED,
    ],
    ["./ in front", [{ path: "./a/./b//c", body: "x" }], "a/b/c"],
    [".. that stays inside", [{ path: "a/b/../c", body: "x" }], "a/c"],
    ["dots that mean nothing", [{ path: "..a/...", body: "x" }], "..a/..."],
    ["old type flag", [{ path: "a", flag: "\0", body: "x" }], "a"],
    ["contiguous file", [{ path: "a", flag: "7", body: "x" }], "a"],
    ["global PAX header without a say", [paxMember({ comment: "0123" }, "g"), { path: "a", body: "x" }], "a"],
  ];
  test.each(cases)("may be %s", async (_, members, name) => {
    await using archive = await archiveOf(tarBytes(members));
    const index = await indexTar(archive.path);
    expect([...index.keys()]).toEqual([name]);
    expect(await archive.contentOf(index.get(name))).toBe("x");
  });

  test("is that of an extended header, which holds for one member, a folder or link included", async () => {
    await using archive = await archiveOf(
      tarBytes([
        paxMember({ path: "one" }),
        { path: "x", body: "1" },
        { path: "two", body: "2" },
        gnuLongMember("L", "three/"),
        { path: "x", flag: "5" },
        { path: "four", body: "4" },
        gnuLongMember("K", "four"),
        { path: "five", flag: "2", linkpath: "x" },
        { path: "six", flag: "2", linkpath: "two" },
      ]),
    );
    const index = await indexTar(archive.path);
    expect([...index.keys()]).toEqual(["one", "two", "four", "five", "six"]);
    expect(index.get("five")).toEqual({ kind: "link", target: "four" });
    expect(index.get("six")).toEqual({ kind: "link", target: "two" });
  });

  test("may come from a GNU long name, long link and PAX header together", async () => {
    await using archive = await archiveOf(
      tarBytes([
        gnuLongMember("K", LONG),
        gnuLongMember("L", "link"),
        paxMember({ mtime: "1" }),
        { path: "x", flag: "2", linkpath: "x" },
      ]),
    );
    expect(await indexTar(archive.path)).toEqual(new Map([["link", { kind: "link", target: LONG }]]));
  });

  test("may be one that every JavaScript object has", async () => {
    await using archive = await archiveOf(
      tarBytes([
        { path: "__proto__", body: "x" },
        { path: "constructor", body: "y" },
      ]),
    );
    expect([...(await indexTar(archive.path)).keys()]).toEqual(["__proto__", "constructor"]);
  });

  test("is read from headers that the tar package itself writes", async () => {
    const pax = new Pax({ path: LONG, size: 3 }).encode();
    await using archive = await archiveOf(
      Buffer.concat([pax, memberBytes({ path: "short", body: "abc" }), Buffer.alloc(1024)]),
    );
    const index = await indexTar(archive.path);
    expect(await archive.contentOf(index.get(LONG))).toBe("abc");
  });
});

describe("the size of a tar member", () => {
  test.each([0, 1, 511, 512, 513, 1024, 100_000])(
    "of %d bytes leads to the member after it",
    async (length) => {
      const body = seededBytes(length, length);
      await using archive = await archiveOf(
        tarBytes([
          { path: "a", body },
          { path: "b", body: "next" },
        ]),
      );
      const index = await indexTar(archive.path);
      expect(index.get("a")).toEqual({ kind: "file", offset: 512, sizeBytes: length });
      expect(await archive.contentOf(index.get("b"))).toBe("next");
    },
  );

  test("is that of PAX, which is stronger than the header's", async () => {
    const body = "s".repeat(700);
    await using archive = await archiveOf(
      tarBytes([paxMember({ size: "700" }), { path: "a", body, sizeBytes: 0 }, { path: "b", body: "next" }]),
    );
    const index = await indexTar(archive.path);
    expect(await archive.contentOf(index.get("a"))).toBe(body);
    expect(await archive.contentOf(index.get("b"))).toBe("next");
  });

  test("in PAX is that of the next member, and not of a GNU header between them", async () => {
    const body = "s".repeat(700);
    const members = [
      paxMember({ size: "700" }),
      gnuLongMember("L", "long"),
      { path: "a", body, sizeBytes: 0 },
    ];
    await using archive = await archiveOf(tarBytes([...members, { path: "b", body: "next" }]));
    const index = await indexTar(archive.path);
    expect([...index.keys()]).toEqual(["long", "b"]);
    expect(await archive.contentOf(index.get("long"))).toBe(body);
  });

  test("is no content where it is a folder's, whatever it says", async () => {
    await using archive = await archiveOf(
      tarBytes([
        { path: "folder/", flag: "5", sizeBytes: 4096 },
        { path: "b", body: "next" },
      ]),
    );
    expect(await archive.contentOf((await indexTar(archive.path)).get("b"))).toBe("next");
  });

  test("may be a tebibyte, in base 256, which is stepped over without being read", async () => {
    const sizeBytes = 1024 ** 4 + 1;
    await using archive = await archiveOf(memberBytes({ path: "huge", sizeBytes }));
    const rest = tarBytes([{ path: "behind", body: "still found" }]);
    const file = await open(archive.path, "r+");
    // A hole, which takes no room.
    await file.write(rest, 0, rest.length, 512 + 1024 ** 4 + 512);
    await file.close();

    const index = await indexTar(archive.path);
    expect(index.get("huge")).toEqual({ kind: "file", offset: 512, sizeBytes });
    expect(await archive.contentOf(index.get("behind"))).toBe("still found");
  });
});

describe("a link in a tar archive", () => {
  const targets: [what: string, member: FixtureMember, target: string][] = [
    ["as podman writes them", { path: "v1/layer.tar", flag: "2", linkpath: "../f00.tar" }, "f00.tar"],
    ["as docker writes them", { path: "b/layer.tar", flag: "2", linkpath: "../a/layer.tar" }, "a/layer.tar"],
    ["a symlink in the same folder", { path: "x/b", flag: "2", linkpath: "a" }, "x/a"],
    ["a symlink with a slash at its end", { path: "x/b/", flag: "2", linkpath: "a" }, "x/a"],
    ["a symlink at the top", { path: "b", flag: "2", linkpath: "./x/../a" }, "a"],
    ["a hardlink counts from the top", { path: "x/y/b", flag: "1", linkpath: "x/a" }, "x/a"],
    ["a hardlink with ./", { path: "x/b", flag: "1", linkpath: "./a" }, "a"],
  ];
  test.each(targets)("leads from the right folder: %s", async (_, member, target) => {
    await using archive = await archiveOf(tarBytes([member]));
    const [found] = (await indexTar(archive.path)).values();
    expect(found).toEqual({ kind: "link", target });
  });

  test("may have a long target, by PAX and by GNU", async () => {
    await using archive = await archiveOf(
      tarBytes([
        paxMember({ linkpath: LONG }),
        { path: "p", flag: "2", linkpath: "cut" },
        gnuLongMember("K", LONG),
        { path: "g", flag: "1", linkpath: "cut" },
      ]),
    );
    const index = await indexTar(archive.path);
    expect(index.get("p")).toEqual({ kind: "link", target: LONG });
    expect(index.get("g")).toEqual({ kind: "link", target: LONG });
  });

  test.skipIf(!hasGnuTar())(
    "that is hard has no body, whatever size its header says: so it is for GNU tar and for Go",
    async () => {
      const members = [
        { path: "a", body: "content" },
        { path: "b", flag: "1", linkpath: "a", sizeBytes: 7 },
        { path: "c", body: "next" },
      ];
      await using archive = await archiveOf(tarBytes(members));
      expect((await listWithTar(archive.path)).map(({ name }) => name)).toEqual(["a", "b", "c"]);
      const index = await indexTar(archive.path);
      expect([...index.keys()]).toEqual(["a", "b", "c"]);
      expect(await archive.contentOf(index.get("c"))).toBe("next");
    },
  );
});

describe("a tar archive is refused, naming the member, with", () => {
  const cases: [what: string, members: FixtureMember[], message: RegExp][] = [
    ["an absolute path", [{ path: "/etc/passwd" }], /"\/etc\/passwd"/],
    ["an absolute path by PAX", [paxMember({ path: "/etc/passwd" }), { path: "a" }], /"\/etc\/passwd"/],
    ["an absolute prefix", [{ path: "passwd", prefix: "/etc" }], /"\/etc\/passwd"/],
    ["a Windows path", [{ path: "C:/evil" }], /"C:\/evil"/],
    ["..", [{ path: "../evil" }], /"\.\.\/evil" points outside/],
    [".. in the middle", [{ path: "a/../../evil" }], /"a\/\.\.\/\.\.\/evil" points outside/],
    [".. by a GNU name", [gnuLongMember("L", "../evil"), { path: "a" }], /"\.\.\/evil" points outside/],
    [".. of a folder", [{ path: "../evil/", flag: "5" }], /"\.\.\/evil\/" points outside/],
    ["a symlink out", [{ path: "a/link", flag: "2", linkpath: "../../etc" }], /"a\/link" points outside/],
    [
      "an absolute symlink",
      [{ path: "link", flag: "2", linkpath: "/etc/passwd" }],
      /"link".*"\/etc\/passwd"/,
    ],
    ["a hardlink out", [{ path: "a/link", flag: "1", linkpath: "../etc" }], /"a\/link" points outside/],
    [
      "a symlink out by PAX",
      [paxMember({ linkpath: "../x" }), { path: "l", flag: "2", linkpath: "a" }],
      /"l" points outside/,
    ],
    ["a link to nowhere", [{ path: "link", flag: "2", linkpath: "" }], /"link" has no target/],
    ["a character device", [{ path: "dev/null", flag: "3" }], /"dev\/null" is a CharacterDevice/],
    ["a block device", [{ path: "dev/sda", flag: "4" }], /"dev\/sda" is a BlockDevice/],
    ["a FIFO", [{ path: "pipe", flag: "6" }], /"pipe" is a FIFO/],
    [
      "a sparse file, whose bytes are not its content",
      [{ path: "hole", flag: "S" }],
      /"hole" is a SparseFile/,
    ],
    ["a type that nobody knows", [{ path: "odd", flag: "q" }], /"odd" is a/],
    ["a member without a name", [{ path: "", body: "x" }], /no name/],
    ["a negative size", [{ path: "minus", sizeBytes: -1 }], /"minus" has no/],
    ["a very negative size", [{ path: "minus", sizeBytes: -(2 ** 40) }], /"minus" has no/],
    [
      "a size beyond all numbers",
      [{ path: "ok" }, { path: "a", change: (header) => header.fill(0xff, 125, 136).writeUInt8(0x80, 124) }],
      /byte 512 cannot be read/,
    ],
    [
      "a size that is no number",
      [{ path: "text", change: (header) => header.write("zzzzzzzzzzz\0", 124) }],
      /"text" has no/,
    ],
    ["a size past the end", [{ path: "big", sizeBytes: 100_000, body: "x" }], /cut short inside "big"/],
    [
      "a PAX size past the end",
      [paxMember({ size: "99999" }), { path: "big", body: "x" }],
      /cut short inside "big"/,
    ],
    [
      "a PAX size with a fraction",
      [paxMember({ size: "1.5" }), { path: "half", body: "x" }],
      /"half" has no/,
    ],
    [
      "a PAX size beyond all numbers",
      [paxMember({ size: "9e99" }), { path: "far", body: "x" }],
      /"far" has no/,
    ],
    [
      "an extended header that fills memory",
      [{ path: "PaxHeader", flag: "x", body: Buffer.alloc(1024 * 1024 + 1) }, { path: "a" }],
      /extended header .* too large: 1048577 bytes/,
    ],
  ];
  test.each(cases)("%s", async (_, members, message) => {
    await using archive = await archiveOf(tarBytes([...members, { path: "after", body: "x" }]));
    const error = await rejection(indexTar(archive.path));
    expect(error.code).toBe("ARCHIVE_INVALID");
    expect(error.message).toMatch(message);
    expect(error.message).toContain(archive.path);
    expect(error.hint).toBeString();
  });

  test("an extended header that claims gigabytes, without taking the memory", async () => {
    await using archive = await archiveOf(
      memberBytes({ path: "PaxHeader", flag: "x", sizeBytes: 4 * 1024 ** 3 }),
    );
    const file = await open(archive.path, "r+");
    await file.truncate(5 * 1024 ** 3);
    await file.close();
    expect((await rejection(indexTar(archive.path))).message).toContain("4294967296 bytes");
  });
});

test("the name of a link may be hundreds of thousands of slashes, which takes no time", async () => {
  const path = "/".repeat(400_000).replace(/^/, "a");
  await using archive = await archiveOf(
    tarBytes([paxMember({ path }), { path: "short", flag: "2", linkpath: "b" }]),
  );
  expect([...(await indexTar(archive.path)).keys()]).toEqual(["a"]);
});

describe("a tar archive has a limit", () => {
  test("of members, far above what images have", async () => {
    const bytes = Buffer.alloc(512 * 100_001 + 1024, memberBytes({ path: "same" }));
    await using archive = await archiveOf(bytes.fill(0, 512 * 100_000));
    expect((await indexTar(archive.path)).size).toBe(1);
    await using larger = await archiveOf(
      bytes.fill(memberBytes({ path: "same" }), 512 * 100_000, 512 * 100_001),
    );
    expect((await rejection(indexTar(larger.path))).message).toContain("more than 100000 members");
  });

  test("of the length of all names, which are kept in memory", async () => {
    const path = "n".repeat(1_000_000);
    const members = Array.from({ length: 70 }, () => [paxMember({ path }), { path: "short" }]).flat();
    await using archive = await archiveOf(tarBytes(members));
    expect((await rejection(indexTar(archive.path))).message).toContain("names of its members are too long");
  });
});

describe("a damaged tar archive", () => {
  // Every read of its start fails, as on a failing disk.
  test.skipIf(process.platform !== "linux")(
    "that the system cannot read fails with FILE_FAILED",
    async () => {
      expect((await rejection(indexTar("/proc/self/mem"))).code).toBe("FILE_FAILED");
    },
  );

  test("with a wrong checksum in its first header is called no tar archive", async () => {
    await using archive = await archiveOf(tarBytes([{ path: "a", isChecksumWrong: true }]));
    const error = await rejection(indexTar(archive.path));
    expect([error.code, error.message]).toEqual([
      "ARCHIVE_INVALID",
      expect.stringContaining("not a tar archive"),
    ]);
  });

  test("with a wrong checksum later on is refused, saying where", async () => {
    const bytes = tarBytes([
      { path: "a", body: "x" },
      { path: "b", body: "y", isChecksumWrong: true },
    ]);
    await using archive = await archiveOf(bytes);
    const error = await rejection(indexTar(archive.path));
    expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringContaining("byte 1024")]);
  });

  test("is refused for any flipped byte of a header", async () => {
    const good = tarBytes([{ path: "name", body: "content" }]);
    for (let at = 0; at < 512; at++) {
      // What ends the checksum's own field says nothing.
      if (at >= 154 && at < 156) continue;
      const bytes = Buffer.from(good);
      bytes.writeUInt8((bytes[at] ?? 0) ^ 0x15, at);
      await using archive = await archiveOf(bytes);
      expect((await rejection(indexTar(archive.path))).code).toBe("ARCHIVE_INVALID");
    }
  });

  const notTars: [what: string, bytes: Uint8Array][] = [
    ["random bytes", seededBytes(5000, 1)],
    ["binary", Buffer.concat([Buffer.from("XY\x03\x04"), Buffer.alloc(2000)])],
  ];
  test.each(notTars)("of %s is called no tar archive", async (_, bytes) => {
    await using archive = await archiveOf(bytes);
    const error = await rejection(indexTar(archive.path));
    expect([error.code, error.message]).toEqual([
      "ARCHIVE_INVALID",
      expect.stringContaining("not a tar archive"),
    ]);
  });

  const whole = tarBytes([
    { path: "first", body: seededBytes(700, 2) },
    paxMember({ path: LONG }),
    { path: "x", body: seededBytes(600, 3) },
  ]);
  const cuts: [where: string, length: number][] = [
    ["after the first name", 6],
    ["inside the first header", 511],
    ["after the first header", 512],
    ["inside the first body", 900],
    ["at the end of the first body", 512 + 700],
    ["inside its padding", 512 + 800],
    ["before the second header", 512 + 1024],
    ["inside the PAX header", 512 + 1024 + 300],
    ["inside the PAX body", 512 + 1024 + 512 + 50],
    ["between the PAX header and its member", 512 + 1024 + 1024],
    ["inside the last body", whole.length - 1024 - 500],
    ["before the end marker", whole.length - 1024],
    ["inside the end marker", whole.length - 1024 + 100],
  ];
  test.each(cuts)("that is cut short %s is called cut short", async (_, length) => {
    await using archive = await archiveOf(whole.subarray(0, length));
    const error = await rejection(indexTar(archive.path));
    expect(error.code).toBe("ARCHIVE_INVALID");
    expect(error.message).toContain("cut short");
    expect(error.hint).toContain("again");
  });

  test("that is empty is called empty", async () => {
    await using archive = await archiveOf(new Uint8Array());
    const error = await rejection(indexTar(archive.path));
    expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringContaining("it is empty")]);
  });

  test("that is cut short at any block is refused", async () => {
    for (let length = 0; length <= whole.length - 1024; length += 256) {
      await using archive = await archiveOf(whole.subarray(0, length));
      expect((await rejection(indexTar(archive.path))).code).toBe("ARCHIVE_INVALID");
    }
  });

  test("is read if the damage lies behind the end marker", async () => {
    await using archive = await archiveOf(Buffer.concat([whole, Buffer.from("garbage".repeat(1000))]));
    expect((await indexTar(archive.path)).size).toBe(2);
  });
});

describe.skipIf(!hasGnuTar())("the index of a tar archive", () => {
  test.each(["gnu", "pax", "ustar"])(
    "agrees with tar itself about a folder of random names and sizes: --format=%s",
    async (format) => {
      await using folder = await temporaryFolder();
      const tree = join(folder.path, "tree");
      const names = await writeRandomTree(tree, format === "ustar" ? 30 : 110);
      const archive = join(folder.path, "x.tar");
      await run(["tar", `--format=${format}`, "-cf", archive, "-C", tree, "."]);

      const index = await indexTar(archive);
      const files = await openArchiveFiles(archive, "archive");
      expect([...index.keys()].sort()).toEqual(names.sort());
      for (const { type, name, size, target } of await listWithTar(archive)) {
        if (type === "-") expect(index.get(name)).toMatchObject({ kind: "file", sizeBytes: size });
        if (type === "l") expect(index.get(name)).toEqual({ kind: "link", target });
        if (type === "d") expect(index.get(name)).toBeUndefined();
        else
          expect(await (await files.open(name))?.bytes()).toEqual(await Bun.file(join(tree, name)).bytes());
      }
    },
  );
});

/** Files, symlinks and hardlinks, the same in every run. */
async function writeRandomTree(tree: string, longestPart: number): Promise<string[]> {
  const numbers = seededBytes(4000, 20240607);
  let next = 0;
  const random = (below: number) => {
    const value = (numbers[next++] ?? 0) * 256 + (numbers[next++] ?? 0);
    return value % below;
  };
  const names: string[] = [];
  for (let i = 0; i < 60; i++) {
    const part = () => `${"äß-_. abc"[random(9)]}${"n".repeat(random(longestPart))}`;
    const name = `${part()}${i}/${part()}/${i}.bin`;
    const path = join(tree, name);
    await mkdir(dirname(path), { recursive: true });
    const target = names[random(names.length || 1)];
    const kind = random(6);
    if (kind === 0 && target !== undefined) await symlink(join("../..", target), path);
    else if (kind === 1 && target !== undefined) await link(join(tree, target), path);
    else await Bun.write(path, seededBytes(random(3000), i));
    names.push(name);
  }
  return names;
}

type Listed = {
  readonly type: string;
  readonly name: string;
  readonly size: number;
  readonly target: string;
};

/** What `tar tvf` says, hardlinks as `h`, with names as the index has them. */
async function listWithTar(path: string): Promise<Listed[]> {
  const text = await run(["tar", "--quoting-style=literal", "-tvf", path]);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => {
      const [, type = "", sizeText = "", rest = ""] = /^(.)\S+ +\S+ +(\d+) +\S+ +\S+ (.*)$/.exec(line) ?? [];
      const [name = "", target = ""] = rest.split(type === "h" ? " link to " : " -> ");
      const folder = type === "l" ? dirname(name) : "";
      const clean = (text: string) => join(text).replace(/^\.\/|\/$/g, "");
      return {
        type,
        name: clean(name),
        size: Number(sizeText),
        target: target && clean(join(folder, target)),
      };
    });
}

async function run(command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe", env: { ...process.env, LC_ALL: "C" } });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${stderr}`);
  return stdout;
}

async function archiveOf(bytes: Uint8Array) {
  const folder = await temporaryFolder();
  const path = join(folder.path, "x.tar");
  await Bun.write(path, bytes);
  return {
    path,
    async contentOf(member: TarMember | undefined): Promise<string> {
      if (member?.kind !== "file") throw new Error(`expected a file, but it is ${member?.kind}`);
      return Bun.file(path)
        .slice(member.offset, member.offset + member.sizeBytes)
        .text();
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
