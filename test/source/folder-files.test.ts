import { describe, expect, test } from "bun:test";
import { mkdir, symlink, truncate } from "node:fs/promises";
import { join } from "node:path";
import { openFolderFiles } from "../../src/source/files/folder.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

async function folderWithSecret() {
  const temporary = await temporaryFolder();
  const path = join(temporary.path, "image");
  await mkdir(join(path, "blobs/sha256"), { recursive: true });
  await Bun.write(join(temporary.path, "secret"), "secret");
  await Bun.write(join(temporary.path, "image-of-another/secret"), "secret");
  await Bun.write(join(path, "index.json"), "{}");
  await Bun.write(join(path, "blobs/sha256/abc"), "blob");
  await symlink("blobs/sha256/abc", join(path, "inside"));
  await symlink("../secret", join(path, "out"));
  await symlink("/etc/passwd", join(path, "absolute"));
  await symlink("..", join(path, "up"));
  await symlink("../image-of-another", join(path, "neighbour"));
  await symlink("circle", join(path, "circle"));
  await symlink("nothing", join(path, "dangling"));
  const files = await openFolderFiles(path, "folder");
  return { path, files, [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose]() };
}

test("a folder that is gone fails with FILE_FAILED", async () => {
  await using folder = await temporaryFolder();
  const error = await rejection(openFolderFiles(join(folder.path, "gone"), 'folder "gone"'));
  expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining('folder "gone"')]);
});

describe("open in a folder", () => {
  const cases: [name: string, content: string | undefined][] = [
    ["index.json", "{}"],
    ["./index.json", "{}"],
    ["blobs/sha256/abc", "blob"],
    ["blobs/../index.json", "{}"],
    ["inside", "blob"],
    ["absent", undefined],
    ["absent/absent", undefined],
    ["index.json/below-a-file", undefined],
    ["dangling", undefined],
    // Below the folder, where nothing of that name is.
    ["/etc/passwd", undefined],
  ];
  test.each(cases)("finds the file of the name %j", async (name, content) => {
    await using folder = await folderWithSecret();
    expect(await (await folder.files.open(name))?.text()).toBe(content);
  });

  const refused: [name: string, message: RegExp][] = [
    ["../secret", /"\.\.\/secret" points outside/],
    ["../image-of-another/secret", /points outside/],
    ["../../../../../../../../etc/passwd", /points outside/],
    ["out", /"out" points outside/],
    ["absolute", /"absolute" points outside/],
    ["up/secret", /"up\/secret" points outside/],
    ["neighbour/secret", /"neighbour\/secret" points outside/],
    [".", /points outside|not a regular file/],
    ["", /points outside|not a regular file/],
    ["..", /points outside/],
    ["blobs", /"blobs" is not a regular file/],
  ];
  test.each(refused)("refuses %j, naming it", async (name, message) => {
    await using folder = await folderWithSecret();
    const error = await rejection(folder.files.open(name));
    expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringMatching(message)]);
  });

  test.each(["circle", "a\0b", "n".repeat(5000)])("fails with a message of ours on %j", async (name) => {
    await using folder = await folderWithSecret();
    const error = await rejection(folder.files.open(name.slice(0, 5000)));
    expect(["FILE_FAILED", "ARCHIVE_INVALID"]).toContain(error.code);
  });

  test.skipIf(Bun.which("mkfifo") === null)(
    "refuses a FIFO without waiting for someone to write into it",
    async () => {
      await using folder = await folderWithSecret();
      expect(Bun.spawnSync(["mkfifo", join(folder.path, "pipe")]).exitCode).toBe(0);
      const error = await rejection(folder.files.open("pipe"));
      expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringContaining(`"pipe"`)]);
    },
  );

  test("gives a file that grows or shrinks later the size that it had", async () => {
    await using folder = await folderWithSecret();
    const blob = await folder.files.open("blobs/sha256/abc");
    await Bun.write(join(folder.path, "blobs/sha256/abc"), "blob and more");
    expect(blob?.size).toBe(4);
    expect(await blob?.text()).toBe("blob");
    await truncate(join(folder.path, "blobs/sha256/abc"), 2);
    expect(blob?.size).toBe(4);
    expect(await blob?.text()).toBe("bl");
  });
});

test("a folder may be reached by a symlink, and links in it still lead nowhere outside", async () => {
  await using folder = await folderWithSecret();
  const alias = join(folder.path, "../alias");
  await symlink("image", alias);
  const files = await openFolderFiles(alias, "folder");
  expect(await (await files.open("index.json"))?.text()).toBe("{}");
  expect(await (await files.open("inside"))?.text()).toBe("blob");
  expect((await rejection(files.open("out"))).code).toBe("ARCHIVE_INVALID");
});
