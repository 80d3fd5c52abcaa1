/** The same archives as the index reads, from a pipe: whatever the sizes of the pieces in which they come. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { indexTar } from "../../src/source/tar/members.ts";
import { readTarStream, type StreamedFile } from "../../src/source/tar/stream.ts";
import { piecesOf } from "../support/pieces.ts";
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

const TITLE = 'archive that docker saved of "my/app"';
const LONG = `${"folder/".repeat(40)}layer.tar`;
const PIECES = [1, 511, 512, 513, 4096, Number.POSITIVE_INFINITY];

async function textOf(file: StreamedFile): Promise<string> {
  return Buffer.concat(await Array.fromAsync(file.bytes)).toString("latin1");
}

async function readAll(archive: Uint8Array, pieceBytes: number): Promise<[path: string, content: string][]> {
  const files: [string, string][] = [];
  for await (const file of readTarStream(piecesOf(archive, pieceBytes), TITLE)) {
    if (file.kind !== "file") continue;
    const content = await textOf(file);
    expect(content.length).toBe(file.sizeBytes);
    files.push([file.path, content]);
  }
  return files;
}

/** What the index, which seeks, finds in the same bytes. */
async function readByIndex(archive: Uint8Array): Promise<[path: string, content: string][]> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "x.tar");
  await Bun.write(path, archive);
  const files = await openArchiveFiles(path, "archive");
  const members = [...(await indexTar(path, "archive"))].filter(([, { kind }]) => kind === "file");
  return await Promise.all(
    members.map(async ([name]) => {
      const content = Buffer.from((await (await files.open(name))?.bytes()) ?? []);
      return [name, content.toString("latin1")] as [string, string];
    }),
  );
}

const archives: [what: string, members: FixtureMember[]][] = [
  ["nothing", []],
  ["one file", [{ path: "a", body: "x" }]],
  [
    "sizes around a block",
    [0, 1, 511, 512, 513, 1024].map((n) => ({ path: `${n}`, body: seededBytes(n, n) })),
  ],
  [
    "the old type flag, and a contiguous file",
    [
      { path: "a", flag: "\0", body: "1" },
      { path: "b", flag: "7", body: "2" },
    ],
  ],
  ["a ustar prefix", [{ path: "layer.tar", prefix: "abc/def", body: "x" }]],
  [
    "a PAX path and size",
    [paxMember({ path: LONG, size: "700" }), { path: "x", body: "s".repeat(700), sizeBytes: 0 }],
  ],
  [
    "a GNU long name, for one member",
    [gnuLongMember("L", LONG), { path: "x", body: "1" }, { path: "y", body: "2" }],
  ],
  ["a global header", [paxMember({ comment: "no" }, "g"), { path: "a", body: "x" }]],
  [
    "folders and links, whose sizes are no content",
    [
      { path: "folder/", flag: "5", sizeBytes: 4096 },
      { path: "a", body: "content" },
      { path: "b", flag: "1", linkpath: "a", sizeBytes: 7 },
      { path: "c", flag: "2", linkpath: "nowhere" },
      { path: "d", body: "next" },
    ],
  ],
];

describe.each(PIECES)("a tar stream in pieces of %d bytes", (pieceBytes) => {
  test.each(archives)("brings the members of %s", async (_, members) => {
    const archive = tarBytes(members);
    const files = await readAll(archive, pieceBytes);
    // A hardlink is another name of a file for the index, and no file for the stream.
    const indexed = (await readByIndex(archive)).filter(([name]) => name !== "b" || members.length !== 5);
    expect(files).toEqual(indexed);
  });

  test("passes over files that are left alone, or read in part", async () => {
    const members = Array.from({ length: 7 }, (_, i) => ({ path: `${i}`, body: seededBytes(1300 + i, i) }));
    const seen: string[] = [];
    for await (const file of readTarStream(piecesOf(tarBytes(members), pieceBytes), TITLE)) {
      seen.push(file.path);
      const i = Number(file.path);
      if (i % 3 === 1) for await (const _piece of file.bytes) break;
      if (i % 3 === 2)
        expect(await textOf(file)).toBe(Buffer.from(members[i]?.body ?? "").toString("latin1"));
    }
    expect(seen).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
  });

  test("that is cut short anywhere is called cut short, whether its files are read or not", async () => {
    const whole = tarBytes([
      { path: "first", body: seededBytes(700, 2) },
      paxMember({ path: LONG }),
      { path: "x", body: seededBytes(600, 3) },
    ]);
    const lengths = [
      0,
      1,
      511,
      512,
      513,
      900,
      1212,
      1312,
      1536,
      1900,
      2048,
      2100,
      2560,
      3072,
      3500,
      4096 - 1024,
    ];
    for (const length of lengths.filter((each) => each < whole.length - 1024)) {
      for (const read of [textOf, async () => ""]) {
        const reading = (async () => {
          for await (const file of readTarStream(piecesOf(whole.subarray(0, length), pieceBytes), TITLE))
            await read(file);
        })();
        const error = await rejection(reading);
        const words = length === 0 ? "it is empty" : "cut short";
        expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringContaining(words)]);
        if (length > 0) expect(error.message).toContain(`${length} bytes`);
        expect(error.message).toContain(TITLE);
      }
    }
  });
});

describe("a hostile tar stream", () => {
  const cases: [what: string, archive: Uint8Array, message: RegExp][] = [
    ["binary", Buffer.from("no archive.\0".repeat(100)), /not a tar archive/],
    [
      "a wrong checksum",
      tarBytes([
        { path: "a", body: "x" },
        { path: "b", isChecksumWrong: true },
      ]),
      /byte 1024/,
    ],
    ["no name", tarBytes([{ path: "" }]), /no name/],
    ["a negative size", tarBytes([{ path: "minus", sizeBytes: -1 }]), /"minus" has no/],
    ["a PAX size beyond numbers", tarBytes([paxMember({ size: "9e99" }), { path: "far" }]), /"far" has no/],
    ["a device", tarBytes([{ path: "null", flag: "3" }]), /"null" is a CharacterDevice/],
    ["a size past the end", memberBytes({ path: "big", sizeBytes: 2 ** 50 }), /cut short/],
    [
      "an extended header that fills memory",
      memberBytes({ path: "PaxHeader", flag: "x", sizeBytes: 4 * 1024 ** 3 }),
      /4294967296 bytes/,
    ],
  ];
  test.each(cases)("is refused: %s", async (_, archive, message) => {
    for (const pieceBytes of [513, Number.POSITIVE_INFINITY]) {
      const error = await rejection(readAll(archive, pieceBytes));
      expect(error.code).toBe("ARCHIVE_INVALID");
      expect(error.message).toMatch(message);
    }
  });
});

describe("the writer of a tar stream", () => {
  /** Pieces of an archive, and what became of their reader. */
  function watched(archive: Uint8Array) {
    const end = { isReached: false, isReturned: false };
    async function* pieces() {
      try {
        yield* piecesOf(archive, 512);
        end.isReached = true;
      } finally {
        end.isReturned = true;
      }
    }
    return { pieces: pieces(), end };
  }

  test("can write to the end, whatever comes behind the end marker", async () => {
    const { pieces, end } = watched(Buffer.concat([tarBytes([{ path: "a" }]), Buffer.alloc(10_240, 7)]));
    for await (const _file of readTarStream(pieces, TITLE));
    expect(end).toEqual({ isReached: true, isReturned: true });
  });

  test("is released when the reader stops", async () => {
    const { pieces, end } = watched(tarBytes([{ path: "a", body: seededBytes(5000, 1) }, { path: "b" }]));
    for await (const _file of readTarStream(pieces, TITLE)) break;
    expect(end).toEqual({ isReached: false, isReturned: true });
  });

  test("is released when the archive is damaged", async () => {
    const { pieces, end } = watched(
      tarBytes([{ path: "a" }, { path: "b", isChecksumWrong: true }, { path: "c" }]),
    );
    await rejection(Array.fromAsync(readTarStream(pieces, TITLE)));
    expect(end).toEqual({ isReached: false, isReturned: true });
  });

  test("may fail, and the reader gets that error, not one about an archive that is cut short", async () => {
    const failure = new Error("the engine is gone");
    async function* failing() {
      yield* piecesOf(tarBytes([{ path: "a", body: seededBytes(5000, 1) }]).subarray(0, 2000), 512);
      throw failure;
    }
    const reading = Array.fromAsync(readTarStream(failing(), TITLE));
    expect(await reading.then(String, (error: unknown) => error)).toBe(failure);
  });
});
