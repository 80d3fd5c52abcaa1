import { describe, expect, test } from "bun:test";
import { chmod, stat } from "node:fs/promises";
import { join } from "node:path";
import { openLayerCache } from "../../src/layers/layer-cache.ts";
import { recallSavedPaths, rememberSavedPaths } from "../../src/layers/saved-paths.ts";
import { type DiffId, digestOf, parseDiffId } from "../../src/oci/digest.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const diffIdOf = (i: number): DiffId => parseDiffId(digestOf(seededBytes(8, i)), "a test");
const pathOf = (i: number): string => `${digestOf(seededBytes(9, i)).slice(7)}/layer.tar`;
const pathsOf = (...numbers: number[]) => new Map(numbers.map((i) => [pathOf(i), diffIdOf(i)]));

async function place() {
  const folder = await temporaryFolder();
  const cache = await openLayerCache(join(folder.path, "cache"));
  return {
    cache,
    note: join(cache.directory, "saved-paths"),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("the names of layers", () => {
  test("are nothing at first, and then what was noted last", async () => {
    await using at = await place();
    expect(await recallSavedPaths(at.cache)).toEqual(new Map());
    await rememberSavedPaths(at.cache, pathsOf(1, 2));
    expect(await recallSavedPaths(at.cache)).toEqual(pathsOf(1, 2));
    await rememberSavedPaths(at.cache, pathsOf(3));
    expect(await recallSavedPaths(at.cache)).toEqual(pathsOf(3));
    expect((await stat(at.note)).mode & 0o777).toBe(0o600);
  });

  test("that say by themselves what they are, are not noted", async () => {
    await using at = await place();
    const telling = [
      `blobs/sha256/${"a".repeat(64)}`,
      `${"b".repeat(64)}.tar`,
      "../layer.tar",
      `${"c".repeat(63)}/layer.tar`,
    ];
    const others = telling.map((path): [string, DiffId] => [path, diffIdOf(7)]);
    await rememberSavedPaths(at.cache, new Map([...others, ...pathsOf(1)]));
    expect(await recallSavedPaths(at.cache)).toEqual(pathsOf(1));
  });

  test("are noted up to some thousands, the last of them", async () => {
    await using at = await place();
    const numbers = Array.from({ length: 2100 }, (_, i) => i);
    await rememberSavedPaths(at.cache, pathsOf(...numbers));
    expect(await recallSavedPaths(at.cache)).toEqual(pathsOf(...numbers.slice(100)));
  });

  const [path, diffId] = [pathOf(1), diffIdOf(1)];
  test.each<[string, string]>([
    ["nothing", ""],
    ["half of it", JSON.stringify({ [path]: diffId }).slice(0, 50)],
    ["a list", "[]"],
    ["null", "null"],
    ["another name", JSON.stringify({ "../../etc/passwd": diffId })],
    ["a name of Object's", `{"__proto__":"${diffId}","constructor":"${diffId}"}`],
    ["no diffID", JSON.stringify({ [path]: "sha256:zz" })],
    ["a diffID behind a newline", JSON.stringify({ [path]: `${diffId}\n` })],
    ["a number", JSON.stringify({ [path]: 7 })],
    ["bytes that are no text", "\u0000\u00ff"],
  ])("are as good as not noted where the note holds %s", async (_, text) => {
    await using at = await place();
    await Bun.write(at.note, text);
    expect(await recallSavedPaths(at.cache)).toEqual(new Map());
  });

  test("cannot be noted where the folder is gone, which is said", async () => {
    await using at = await place();
    const error = await rejection(
      rememberSavedPaths({ directory: `${at.cache.directory}-gone` }, pathsOf(1)),
    );
    expect(error.code).toBe("FILE_FAILED");
    expect(error.hint).toContain("--cache-dir");
  });

  test.skipIf(process.getuid?.() === 0)("that may not be read are as good as not noted", async () => {
    await using at = await place();
    await rememberSavedPaths(at.cache, pathsOf(1));
    await chmod(at.note, 0);
    expect(await recallSavedPaths(at.cache)).toEqual(new Map());
  });
});
