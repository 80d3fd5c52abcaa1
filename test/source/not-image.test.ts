/** Files and folders that people take for an image: each is named for what it is. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { push } from "../../index.ts";
import { otherFile } from "../../src/source/files/not-image.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type FixtureMember, memberBytes, tarBytes } from "../support/tar-fixture.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

let folder: TemporaryFolder;
let registry: TestRegistry;
beforeAll(async () => {
  [folder, registry] = await Promise.all([temporaryFolder(), startTestRegistry()]);
});
afterAll(async () => {
  await Promise.all([folder[Symbol.asyncDispose](), registry[Symbol.asyncDispose]()]);
});

const pushSource = (source: Parameters<typeof push>[0]["source"]) =>
  push({ source, target: `${registry.host}/team/app:v1`, cacheDirectory: join(folder.path, ".cache") });

/** Pushes bytes in all ways: as a file, as one that is compressed, and as a stream. */
async function refusals(bytes: Uint8Array<ArrayBuffer>) {
  const name = join(folder.path, Bun.hash(bytes).toString(36));
  await Bun.write(name, bytes);
  await Bun.write(`${name}.gz`, gzipSync(bytes));
  const stream = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 100) controller.enqueue(bytes.subarray(at, at + 100));
      controller.close();
    },
  });
  return Promise.all(
    [name, `${name}.gz`, { name: "standard input", stream }].map((source) => rejection(pushSource(source))),
  );
}

const text = (value: string) => new TextEncoder().encode(value);
const binary = (...head: number[]) => {
  const bytes = new Uint8Array(seededBytes(2000, 3));
  bytes.set(head);
  return bytes;
};
const IMAGE = dockerArchive([seededBytes(2000, 1)], ["team/app:v1"]).archive;

describe("A push of a file that is no tar archive says what it is:", () => {
  test.each<[string, Uint8Array<ArrayBuffer>, string]>([
    ["a web page", text(`<!DOCTYPE html>\n<html>${"x".repeat(3000)}</html>`), "a web page"],
    ["a short web page", text("<html>404</html>"), "a web page"],
    ["a Dockerfile", text("# syntax=docker/dockerfile:1\nARG A=1\nFROM alpine\nRUN true\n"), "a Dockerfile"],
    ["a Git LFS pointer", text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS"],
    ["JSON", text('[{"Id": "sha256:0"}]'), "JSON"],
    ["a script", text("#!/bin/sh\ndocker save x\n"), "a script"],
    [
      "a Dockerfile with Windows' line ends",
      text("# syntax\r\n\r\nARG A=1\r\nFROM alpine\r\n"),
      "a Dockerfile",
    ],
    ["text", text("Lorem ipsum. ".repeat(99)), "a text file"],
    ["a ZIP file", binary(0x50, 0x4b, 3, 4), "ZIP"],
    ["xz", binary(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), "xz"],
    ["bzip2", binary(0x42, 0x5a, 0x68, 0x39), "bzip2"],
    ["a picture", binary(0x89, 0x50, 0x4e, 0x47), "PNG"],
    ["the disk of a virtual machine", binary(0x51, 0x46, 0x49, 0xfb), "qcow2"],
  ])("%s", async (_, bytes, words) => {
    for (const error of await refusals(bytes)) {
      expect(error.code).toBe("SOURCE_NOT_IMAGE");
      expect(error.message).toContain(words);
      expect(error.hint).toBeString();
    }
  });

  test("an archive that is compressed twice", async () => {
    const path = join(folder.path, "twice.tar.gz.gz");
    await Bun.write(path, gzipSync(gzipSync(IMAGE)));
    const error = await rejection(pushSource(path));
    expect(error.code).toBe("SOURCE_NOT_IMAGE");
    expect(error.message).toContain("compressed twice");
  });

  test.each<[string, Uint8Array<ArrayBuffer>, string]>([
    ["an archive that is cut short", IMAGE.slice(0, 3000), "cut short"],
    ["one that is cut short in its first block", IMAGE.slice(0, 300), "cut short"],
    ["an empty file", new Uint8Array(), "it is empty"],
    ["anything unknown", binary(1, 2, 3), "not a tar archive"],
  ])("an archive, if it may be a damaged one: %s", async (_, bytes, words) => {
    for (const error of await refusals(bytes)) {
      expect(error.code).toBe("ARCHIVE_INVALID");
      expect(error.message).toContain(words);
    }
  });
});

describe("A Dockerfile is recognized in linear time:", () => {
  const whatOf = (value: string) => otherFile("file", text(value))?.message;
  test.each([
    "# syntax=docker/dockerfile:1\nARG A=1\nFROM alpine\n",
    "# syntax=docker/dockerfile:1\r\n\r\nARG A=1\r\nFROM alpine\r\n",
    "\n \n\t# a comment\n  # more\n\narg a\nfrom alpine as build\n",
    "  FROM alpine",
    "FROM --platform=linux/amd64 alpine",
    `${"# a comment\n".repeat(6000)}FROM alpine`,
  ])("%j is a Dockerfile", (value) => {
    expect(whatOf(value)).toContain("a Dockerfile");
  });

  const KIB_64 = 64 * 1024;
  test.each([
    "\n",
    "\r\n",
    " ",
    " \n",
    "\t\n\n",
    "#\n",
    "# a\n",
    "##",
    "ARG \n",
    "ARG a\n",
    "ARG\t",
    "# FROM a\n",
    "a\n",
  ])("64 KiB of %j are no Dockerfile without a FROM behind them", (piece) => {
    const value = piece.repeat(KIB_64 / piece.length);
    for (const each of [value, `${value}x`, `${value}\nRUN x`, `${value}\nFROM${" \n".repeat(KIB_64)}`])
      expect(whatOf(each) ?? "").not.toContain("Dockerfile");
  });
});

describe("A push of a root file system is refused as one:", () => {
  const file = (path: string): FixtureMember => ({ path, body: "x" });
  test.each<[string, FixtureMember[]]>([
    ["of docker export", [file(".dockerenv"), { path: "bin", flag: "2", linkpath: "usr/bin" }]],
    ["with absolute links", [{ path: "bin/sh", flag: "2", linkpath: "/bin/busybox" }]],
    ["with links that lead out", [file("etc/hosts"), { path: "etc/x", flag: "2", linkpath: "../../y" }]],
    [
      "with devices",
      [
        { path: "./dev/", flag: "5" },
        { path: "./dev/null", flag: "3" },
      ],
    ],
    ["whose files tell it", [file("etc/passwd")]],
  ])("%s", async (_, members) => {
    for (const error of await refusals(tarBytes(members))) {
      expect(error.code).toBe("SOURCE_NOT_IMAGE");
      expect(error.message).toContain("root file system");
      expect(error.hint).toContain("docker save");
    }
  });

  test("but a device in any other archive counts as damage", async () => {
    for (const error of await refusals(tarBytes([{ path: "x", flag: "3" }])))
      expect(error.code).toBe("ARCHIVE_INVALID");
  });
});

describe("A push of a folder without an image says what it is:", () => {
  test.each<[string, string[], string, string]>([
    ["an empty one", [], "SOURCE_NOT_IMAGE", "neither manifest.json nor index.json"],
    ["a build context", ["Dockerfile"], "SOURCE_NOT_IMAGE", "Dockerfile"],
    ["a root file system", ["etc/os-release"], "SOURCE_NOT_IMAGE", "root file system"],
    ["an OCI layout without its index", ["oci-layout"], "IMAGE_INCOMPLETE", "index.json"],
  ])("%s", async (name, files, code, words) => {
    const path = join(folder.path, name.replaceAll(" ", "-"));
    await mkdir(path);
    await symlink("/etc/passwd", join(path, ".dockerenv"));
    for (const file of files) {
      await mkdir(dirname(join(path, file)), { recursive: true });
      await Bun.write(join(path, file), "x");
    }
    const error = await rejection(pushSource(path));
    expect<string>(error.code).toBe(code);
    expect(error.message).toContain(words);
  });
});

test("An archive of an image may hold folders of other things", async () => {
  const extra = memberBytes({ path: "etc/notes", body: "x" });
  const path = join(folder.path, "extra.tar");
  await Bun.write(path, Buffer.concat([extra, IMAGE]));
  expect((await pushSource(path)).digest).toStartWith("sha256:");
});
