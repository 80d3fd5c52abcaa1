/** A layer may have any link in it, and whoever made it decides which path is read. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, readFileSync } from "node:fs";
import { mkdir, rename, symlink } from "node:fs/promises";
import { join } from "node:path";
import { openSafeFolder, type SafeFolder } from "../../src/source/storage/safe-open.ts";
import { runWell } from "../support/command.ts";
import { openFilesBelow } from "../support/open-files.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** A folder with files, beside a secret, and links of every kind that lead to it. */
async function folderWithLinks() {
  const temporary = await temporaryFolder();
  const root = join(temporary.path, "root");
  await Bun.write(join(temporary.path, "secret/file"), "secret");
  await Bun.write(join(root, "a/b/c"), "content");
  await Bun.write(join(root, "a/d"), "other");
  await Bun.write(join(root, "empty"), "");
  await symlink("/etc/passwd", join(root, "absolute"));
  await symlink("../secret/file", join(root, "relative"));
  await symlink("../secret", join(root, "folder"));
  await symlink("b", join(root, "a/inside"));
  await symlink("c", join(root, "a/b/beside"));
  await symlink("/proc/self/root", join(root, "a/magic"));
  await Bun.write(join(root, `${"d/".repeat(129)}file`), "deep");
  await runWell(["mkfifo", join(root, "fifo")]);
  return { path: root, [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose]() };
}

function read(folder: SafeFolder, path: string | Buffer): string {
  const { fd, sizeBytes } = folder.openFile(path);
  try {
    const text = readFileSync(fd, "utf8");
    expect(Buffer.byteLength(text)).toBe(sizeBytes);
    return text;
  } finally {
    closeSync(fd);
  }
}

describe.skipIf(process.platform !== "linux")("a folder that is opened safely", () => {
  let root: Awaited<ReturnType<typeof folderWithLinks>>;
  beforeAll(async () => {
    root = await folderWithLinks();
  });
  afterAll(() => root[Symbol.asyncDispose]());

  test("gives regular files, one after another, and leaves no descriptor open", async () => {
    {
      using folder = openSafeFolder(root.path);
      for (const [path, content] of [
        ["a/b/c", "content"],
        ["a/d", "other"],
        ["./a//b/./c", "content"],
        ["/a/b/c", "content"],
        ["empty", ""],
        ["a/b/c", "content"],
      ] as const)
        expect([path, read(folder, path)]).toEqual([path, content]);
    }
    expect(openFilesBelow(root.path)).toEqual([]);
  });

  test.each([
    ["a link to an absolute path", "absolute"],
    ["a link out of the folder", "relative"],
    ["a link in the way", "folder/file"],
    ["a link in the way that stays inside", "a/inside/c"],
    ["a link to a file beside it", "a/b/beside"],
    ["a link of /proc in the way", "a/magic/etc/passwd"],
    ["a way out", "../secret/file"],
    ["a way out through a folder", "a/../../secret/file"],
    ["a way back that stays inside", "a/b/../d"],
    ["the folder itself", "a/.."],
    ["nothing", ""],
    ["nothing but a slash", "/"],
    ["a folder", "a"],
    ["a folder with a slash", "a/b/"],
    ["a FIFO, without waiting for a writer", "fifo"],
    ["a file below a file", "a/b/c/d"],
    ["a file that is not there", "absent"],
    ["a file in a folder that is not there", "absent/file"],
    ["a name with a zero byte", "a\0b"],
    ["a path of too many folders", `${"d/".repeat(129)}file`],
    ["a name that is too long", "x".repeat(300)],
  ])("does not open %s", async (_, path) => {
    {
      using folder = openSafeFolder(root.path);
      expect((await rejection(() => folder.openFile(path))).code).toBe("FILE_FAILED");
      expect(read(folder, "a/b/c")).toBe("content");
    }
    expect(openFilesBelow(root.path)).toEqual([]);
  });

  test("does not open a device", async () => {
    using folder = openSafeFolder("/dev");
    const error = await rejection(() => folder.openFile("null"));
    expect([error.code, error.message]).toEqual([
      "FILE_FAILED",
      expect.stringContaining("not a regular file"),
    ]);
  });

  test("does not follow a link that takes the place of a folder after it was opened", async () => {
    await using root = await folderWithLinks();
    using folder = openSafeFolder(root.path);
    expect(read(folder, "a/b/c")).toBe("content");
    await Bun.write(join(root.path, "../secret/c"), "secret");
    await rename(join(root.path, "a/b"), join(root.path, "a/moved"));
    await symlink("../../secret", join(root.path, "a/b"));
    // The folder that was opened first, wherever it is now.
    expect(read(folder, "a/b/c")).toBe("content");
    expect(read(folder, "a/d")).toBe("other");
    expect((await rejection(() => folder.openFile("a/b/c"))).code).toBe("FILE_FAILED");
  });

  test("opens names that are not UTF-8 by their bytes", async () => {
    const name = Buffer.from("raw/\xe9/\xff", "latin1");
    await mkdir(join(root.path, "raw/é"), { recursive: true });
    await Bun.write(join(root.path, "raw/é/ÿ"), "UTF-8");
    // The test runner's own functions take no bytes.
    await runWell([
      "sh",
      "-c",
      `cd '${root.path}' && mkdir "$(printf 'raw/\\351')" && printf Latin-1 >"$(printf 'raw/\\351/\\377')"`,
    ]);
    using folder = openSafeFolder(root.path);
    expect(read(folder, "raw/é/ÿ")).toBe("UTF-8");
    expect(read(folder, name)).toBe("Latin-1");
    expect(read(folder, "raw/é/ÿ")).toBe("UTF-8");
  });

  test("reads small files, and refuses larger ones", async () => {
    using folder = openSafeFolder(root.path);
    expect(new TextDecoder().decode(folder.readFile("a/b/c", 7))).toBe("content");
    expect((await rejection(() => folder.readFile("a/b/c", 6))).message).toContain("7 bytes");
    expect((await rejection(() => folder.readFile("absolute", 1e6))).code).toBe("FILE_FAILED");
  });

  test("that is not there, or is a file, cannot be opened", async () => {
    for (const path of ["absent", "a/d"])
      expect((await rejection(() => openSafeFolder(join(root.path, path)))).code).toBe("FILE_FAILED");
  });
});
