/** Layers that are put together from what an engine keeps of them: the same bytes, or a clear error. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rename, rm, symlink, truncate } from "node:fs/promises";
import { join } from "node:path";
import { PushError } from "../../src/errors.ts";
import { openSplitLayer, type SplitLayer } from "../../src/source/storage/tar-split.ts";
import { runWell } from "../support/command.ts";
import { FUZZ_FACTOR, FUZZ_TIMEOUT, fuzz, HAS_MANY_CASES, type Random } from "../support/fuzz.ts";
import { openFilesBelow } from "../support/open-files.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type FixtureMember, gnuLongMember, paxMember } from "../support/tar-fixture.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { mutatedJson } from "./mutated-json.ts";
import { packEntries, splitEntries, writeSplitLayer } from "./split-layer.ts";

const MIB = 1024 * 1024;
const never = new AbortController().signal;

let folder: TemporaryFolder;
let layers = 0;

beforeAll(async () => {
  folder = await temporaryFolder();
  await Bun.write(join(folder.path, "secret"), "secret!");
});
afterAll(() => folder[Symbol.asyncDispose]());

const newLayer = (): SplitLayer => ({
  root: folder.path,
  headers: `db/${++layers}/tar-split.json.gz`,
  files: `files/${layers}/diff`,
});

async function readAll(layer: SplitLayer, signal = never): Promise<Buffer> {
  const content = await openSplitLayer(layer, signal);
  const pieces = await Array.fromAsync(content.read(signal));
  const bytes = Buffer.concat(pieces);
  expect(bytes.length).toBe(content.size);
  return bytes;
}

const FILE = { path: "etc/hello", body: "hello\n" } as const;

/** A layer of one file, with other headers than it should have. */
async function layerWith(...entries: readonly (Record<string, unknown> | string)[]): Promise<SplitLayer> {
  const layer = newLayer();
  await writeSplitLayer(layer, [FILE], entries);
  return layer;
}

describe.skipIf(process.platform !== "linux")("a layer that was taken apart", () => {
  test("is the same archive again, as often as it is read", async () => {
    const layer = newLayer();
    const archive = await writeSplitLayer(layer, [
      { path: "etc/", flag: "5" },
      FILE,
      { path: "etc/empty" },
      { path: "etc/link", flag: "2", linkpath: "/etc/passwd" },
      { path: "etc/hard", flag: "1", linkpath: "etc/hello" },
      { path: "etc/.wh.gone" },
      { path: "./dev/null", flag: "3" },
      gnuLongMember("L", `${"long/".repeat(40)}name`),
      paxMember({ path: "π/é" }),
      { path: "π/é", body: seededBytes(512, 1) },
      { path: "/usr/lib/large", body: seededBytes(3 * MIB + 7, 2) },
    ]);
    const content = await openSplitLayer(layer, never);
    expect(content.size).toBe(archive.length);
    for (let times = 0; times < 2; times++) {
      const pieces = await Array.fromAsync(content.read(never));
      expect(Buffer.concat(pieces).equals(archive)).toBe(true);
      // The compressors want whole pieces, and take their buffers.
      expect(pieces.slice(0, -1).map((piece) => piece.buffer.byteLength)).toEqual([MIB, MIB, MIB]);
    }
  });

  test("may have no members, and no end", async () => {
    expect(await readAll(await layerWith())).toEqual(Buffer.alloc(0));
    expect((await readAll(await layerWith({ type: 1, name: "etc/", payload: null }))).length).toBe(0);
  });

  test("may have files whose names are not UTF-8", async () => {
    const layer = await layerWith({
      type: 1,
      name_raw: Buffer.from("\xe9", "latin1").toString("base64"),
      size: 3,
    });
    await runWell(["sh", "-c", `cd '${join(folder.path, layer.files)}' && printf abc >"$(printf '\\351')"`]);
    expect((await readAll(layer)).toString()).toBe("abc");
  });

  test("may have its end in one large entry, as old engines write it", async () => {
    const end = seededBytes(5 * MIB, 3);
    const layer = await layerWith({ type: 2, payload: Buffer.from(end).toString("base64") });
    expect((await readAll(layer)).equals(end)).toBe(true);
  });

  test("is stopped by its signal, and closes its files when its reader stops", async () => {
    const layer = newLayer();
    await writeSplitLayer(layer, [{ path: "large", body: seededBytes(4 * MIB, 4) }]);
    const stop = new AbortController();
    const content = await openSplitLayer(layer, stop.signal);
    for await (const piece of content.read(stop.signal)) {
      expect(piece.length).toBe(MIB);
      break;
    }
    expect(openFilesBelow(folder.path)).toEqual([]);
    const pieces = content.read(stop.signal);
    await pieces.next();
    stop.abort(new Error("stopped"));
    await expect(pieces.next()).rejects.toThrow("stopped");
    await expect(openSplitLayer(layer, stop.signal)).rejects.toThrow("stopped");
    expect(openFilesBelow(folder.path)).toEqual([]);
  });

  test.each([
    ["no JSON", "{", /not valid JSON/],
    ["null", "null", /type of an entry is unknown/],
    ["a list", "[]", /type of an entry is unknown/],
    ["of a type that nobody knows", { type: 3 }, /type of an entry is unknown/],
    ["bytes without any", { type: 2 }, /no payload/],
    ["bytes that are a number", { type: 2, payload: 5 }, /no payload/],
    ["a file of less than nothing", { type: 1, name: "x", size: -1 }, /no valid size/],
    ["a file of half a byte", { type: 1, name: "x", size: 0.5 }, /no valid size/],
    ["a file of infinite size", '{"type":1,"name":"x","size":1e999}', /no valid size/],
    ["a file whose size is text", { type: 1, name: "x", size: "5" }, /no valid size/],
    ["a file without a name", { type: 1, size: 5 }, /no name/],
    ["a file whose name is a number", { type: 1, name: 5, size: 5 }, /no name/],
  ] as const)("whose headers have an entry that is %s is refused", async (_, entry, message) => {
    const layer = await layerWith(entry);
    const error = await rejection(openSplitLayer(layer, never));
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringMatching(message)]);
    expect(error.message).toContain(layer.headers);
  });

  test("whose files are larger than any disk is refused", async () => {
    const entry = { type: 1, name: "x", size: Number.MAX_SAFE_INTEGER };
    const error = await rejection(openSplitLayer(await layerWith(entry, entry), never));
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringContaining("too large")]);
  });

  test("whose headers unpack to one endless entry is refused", async () => {
    const layer = newLayer();
    await writeSplitLayer(layer, [FILE]);
    await Bun.write(join(folder.path, layer.headers), Bun.gzipSync(Buffer.alloc(200 * MIB, " ")));
    const error = await rejection(openSplitLayer(layer, never));
    expect([error.code, error.message]).toEqual([
      "IMAGE_INVALID",
      expect.stringContaining("entry is too large"),
    ]);
  });

  test.each([
    ["cut short", (bytes: Buffer) => bytes.subarray(0, bytes.length - 12)],
    ["not compressed", () => Buffer.from('{"type":2,"payload":""}\n')],
    ["damaged", (bytes: Buffer) => bytes.fill(0xff, 12, 20)],
    ["empty", () => Buffer.alloc(0)],
  ] as const)("whose headers are %s is refused", async (_, change) => {
    const layer = newLayer();
    await writeSplitLayer(layer, [FILE]);
    const path = join(folder.path, layer.headers);
    await Bun.write(path, change(Buffer.from(await Bun.file(path).bytes())));
    expect((await rejection(openSplitLayer(layer, never))).code).toBe("IMAGE_INVALID");
  });

  const SPOILED: [what: string, spoil: (path: string) => Promise<unknown>, code: string][] = [
    ["is shorter than said", (path) => truncate(path, 5), "CONTENT_MISMATCH"],
    ["is longer than said", (path) => truncate(path, 7), "CONTENT_MISMATCH"],
    ["is not there", (path) => rm(path), "FILE_FAILED"],
    ["is a folder", (path) => rm(path).then(() => Bun.write(join(path, "x"), "hello\n")), "FILE_FAILED"],
    [
      "is a link to a secret of that size",
      (path) => replaceByLink(path, join(folder.path, "secret")),
      "FILE_FAILED",
    ],
    ["is a FIFO", (path) => rm(path).then(() => runWell(["mkfifo", path])), "FILE_FAILED"],
    ["is a device", (path) => replaceByLink(path, "/dev/zero"), "FILE_FAILED"],
    [
      "is below a link to the folder where it is",
      async (path) => {
        const parent = join(path, "..");
        await rename(parent, `${parent}-moved`);
        await symlink(`${parent}-moved`, parent);
      },
      "FILE_FAILED",
    ],
  ];

  async function replaceByLink(path: string, target: string): Promise<void> {
    await rm(path);
    await symlink(target, path);
  }

  test.each(SPOILED)("with a file that %s is refused, naming it", async (_, spoil, code) => {
    const layer = newLayer();
    await writeSplitLayer(layer, [FILE]);
    const content = await openSplitLayer(layer, never);
    await spoil(join(folder.path, layer.files, FILE.path));
    const error = await rejection(Array.fromAsync(content.read(never)));
    expect([error.code, error.message]).toEqual([code as never, expect.stringContaining(FILE.path)]);
    expect(error.hint).toBeString();
  });

  test.each(["../../../secret", "etc/../../../../secret", "/../../../secret", "..", ".", "a\0b"])(
    "with a file named %j reads nothing of that name",
    async (name) => {
      const layer = await layerWith({ type: 1, name, size: 7 });
      const reading = openSplitLayer(layer, never).then(({ read }) => Array.fromAsync(read(never)));
      expect((await rejection(reading)).code).toBe("FILE_FAILED");
    },
  );

  test("with a file below a link is refused before it is read, so that the engine can save it", async () => {
    const layer = newLayer();
    await writeSplitLayer(layer, [FILE]);
    const parent = join(folder.path, layer.files, FILE.path, "..");
    await rename(parent, `${parent}-moved`);
    await symlink(`${parent}-moved`, parent);
    expect((await rejection(openSplitLayer(layer, never))).code).toBe("FILE_FAILED");
  });

  test("whose headers are a link is refused", async () => {
    const layer = await layerWith();
    const path = join(folder.path, layer.headers);
    await rename(path, `${path}-moved`);
    await symlink(`${path}-moved`, path);
    expect((await rejection(openSplitLayer(layer, never))).code).toBe("FILE_FAILED");
  });

  test(
    "is the same archive again, whatever its members are",
    () =>
      fuzz(40, async (random, seed) => {
        const layer = newLayer();
        const members = randomMembers(random, seed);
        const archive = await writeSplitLayer(layer, members);
        expect((await readAll(layer)).equals(archive)).toBe(true);
        await rm(join(folder.path, layer.files), { recursive: true });
      }),
    FUZZ_TIMEOUT,
  );

  test(
    "is refused, or is nothing but its own files, whatever its headers say",
    async () => {
      let read = 0;
      let refused = 0;
      await fuzz(300, async (random, seed) => {
        const layer = newLayer();
        const members = randomMembers(random, seed, 1000).slice(0, 3);
        const lines = splitEntries(members).map((entry) => JSON.stringify(entry));
        const at = random.below(lines.length);
        lines[at] = mutatedJson(lines[at] ?? "", random);
        await writeSplitLayer(layer, members, lines);
        try {
          const bytes = await readAll(layer);
          expect(bytes.includes("secret!") || bytes.includes("root:")).toBe(false);
          read++;
        } catch (error) {
          if (!(error instanceof PushError)) throw error;
          refused++;
        }
        await rm(join(folder.path, layer.files), { recursive: true });
      });
      if (HAS_MANY_CASES) expect([read > 20 * FUZZ_FACTOR, refused > 20 * FUZZ_FACTOR]).toEqual([true, true]);
    },
    FUZZ_TIMEOUT,
  );

  test("may have a zero byte between the entries of its headers", async () => {
    const layer = await layerWith();
    await Bun.write(join(folder.path, layer.headers), packEntries(["\0"]));
    expect((await rejection(openSplitLayer(layer, never))).code).toBe("IMAGE_INVALID");
  });
});

function randomMembers(random: Random, seed: number, mostBytes = Number.POSITIVE_INFINITY): FixtureMember[] {
  return Array.from({ length: random.below(30) }, (_, i): FixtureMember => {
    const path = `${"d/".repeat(random.below(4))}e${random.below(3)}/${i}`;
    const flag = random.pick(["0", "0", "0", "0", "1", "2", "5", "L"]);
    if (flag === "L") return gnuLongMember("L", path);
    if (flag !== "0") return { path, flag, linkpath: flag === "5" ? "" : "/etc/passwd" };
    const size = random.pick(
      [0, 1, 511, 512, 513, 10_000, MIB - 512, MIB, MIB + 1].filter((size) => size <= mostBytes),
    );
    return { path, body: seededBytes(size, seed * 100 + i) };
  });
}
