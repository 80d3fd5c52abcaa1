import { describe, expect, test } from "bun:test";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { rejection } from "../support/rejection.ts";
import { type FixtureMember, memberBytes, tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

describe("open in an archive", () => {
  const members: FixtureMember[] = [
    { path: "first.tar", body: "first" },
    { path: "a/layer.tar", flag: "2", linkpath: "../first.tar" },
    { path: "b/layer.tar", flag: "1", linkpath: "a/layer.tar" },
    { path: "early", flag: "2", linkpath: "late" },
    { path: "late", body: "late" },
    { path: "dangling", flag: "2", linkpath: "nothing" },
    { path: "to-folder", flag: "2", linkpath: "a" },
    { path: "a/", flag: "5" },
    { path: "empty", body: "" },
  ];
  const cases: [name: string, content: string | undefined][] = [
    ["first.tar", "first"],
    ["a/layer.tar", "first"],
    ["b/layer.tar", "first"],
    ["early", "late"],
    ["empty", ""],
    ["dangling", undefined],
    ["to-folder", undefined],
    ["a", undefined],
    ["a/", undefined],
    ["absent", undefined],
    ["", undefined],
    ["..", undefined],
    ["../first.tar", undefined],
    ["/etc/passwd", undefined],
    ["../../../../../../../../etc/passwd", undefined],
    ["constructor", undefined],
  ];
  test.each(cases)("finds what its manifest calls %j", async (name, content) => {
    await using archive = await archiveOf(members);
    expect(await (await archive.files.open(name))?.text()).toBe(content);
  });

  test("gives a blob that knows its size and can be read again and in pieces", async () => {
    await using archive = await archiveOf([
      { path: "a", body: "x".repeat(513) },
      { path: "b", body: "0123456789" },
    ]);
    const blob = await archive.files.open("b");
    expect(blob?.size).toBe(10);
    expect(await blob?.slice(2, 5).text()).toBe("234");
    expect(await blob?.slice(2, 9).slice(1, 3).text()).toBe("34");
    expect(await blob?.slice(8, 100).text()).toBe("89");
    expect(await new Response(blob?.slice(3).stream()).text()).toBe("3456789");
    expect(await blob?.text()).toBe("0123456789");
  });
});

describe("a link in an archive", () => {
  const circles: [what: string, members: FixtureMember[], name: string][] = [
    ["a symlink to itself", [{ path: "a", flag: "2", linkpath: "a" }], "a"],
    [
      "two that point at each other",
      [
        { path: "a", flag: "2", linkpath: "b" },
        { path: "b", flag: "1", linkpath: "a" },
      ],
      "a",
    ],
    [
      "a chain that ends in a circle",
      [
        { path: "start", flag: "2", linkpath: "x/a" },
        { path: "x/a", flag: "2", linkpath: "../x/b" },
        { path: "x/b", flag: "2", linkpath: "a" },
      ],
      "start",
    ],
  ];
  test.each(circles)("is refused where it is %s, naming what was asked for", async (_, members, name) => {
    await using archive = await archiveOf([...members, { path: "other", body: "fine" }]);
    const error = await rejection(archive.files.open(name));
    expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringContaining(`"${name}"`)]);
    expect(await (await archive.files.open("other"))?.text()).toBe("fine");
  });

  test("may lead on through a chain of many", async () => {
    const links = Array.from({ length: 30 }, (_, i) => ({ path: `l${i}`, flag: "2", linkpath: `l${i + 1}` }));
    await using archive = await archiveOf([...links, { path: "l30", body: "end" }]);
    expect(await (await archive.files.open("l0"))?.text()).toBe("end");
  });

  test.skipIf(Bun.which("tar") === null)(
    "to itself, as GNU tar writes for a file that was packed twice, is that file",
    async () => {
      await using folder = await temporaryFolder();
      await Bun.write(join(folder.path, "manifest.json"), "[]");
      const packed = Bun.spawnSync(["tar", "-cf", "x.tar", "manifest.json", "manifest.json"], {
        cwd: folder.path,
      });
      expect(packed.exitCode).toBe(0);
      const files = await openArchiveFiles(join(folder.path, "x.tar"), "archive");
      expect(await (await files.open("manifest.json"))?.text()).toBe("[]");
    },
  );
});

test("An archive is read behind 8 GiB", async () => {
  const sizeBytes = 9 * 1024 ** 3;
  await using archive = await archiveOf([]);
  const file = await open(archive.path, "w");
  const parts = [
    memberBytes({ path: "huge", sizeBytes }),
    tarBytes([{ path: "behind", body: "still found" }]),
  ];
  for (const [i, part] of parts.entries()) await file.write(part, 0, part.length, i * (512 + sizeBytes));
  await file.close();

  const files = await openArchiveFiles(archive.path, "archive");
  expect((await files.open("huge"))?.size).toBe(sizeBytes);
  expect(await (await files.open("huge"))?.slice(sizeBytes - 3).bytes()).toEqual(new Uint8Array(3));
  expect(await (await files.open("behind"))?.text()).toBe("still found");
});

async function archiveOf(members: readonly FixtureMember[]) {
  const folder = await temporaryFolder();
  const path = join(folder.path, "x.tar");
  await Bun.write(path, tarBytes(members));
  const files = await openArchiveFiles(path, "archive");
  return { path, files, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}
