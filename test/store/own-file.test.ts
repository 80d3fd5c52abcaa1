/** What of a cache counts: regular files of one's own. Nothing else is read, followed or waited for. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
} from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { digestOf, hexOf, parseDiffId } from "../../src/oci/digest.ts";
import { recallRepository, rememberRepository } from "../../src/store/blob-places.ts";
import { readCache } from "../../src/store/contents.ts";
import { findCachedDocument, storeDocuments } from "../../src/store/documents.ts";
import { pointerName } from "../../src/store/file-names.ts";
import { findCachedLayer, findPackedLayer, openLayerCache, storeLayer } from "../../src/store/layers.ts";
import { tryLock } from "../../src/store/locks.ts";
import type { Distrust } from "../../src/store/own-file.ts";
import { recallLimits, recallUpload, rememberLimits, rememberUpload } from "../../src/store/upload-notes.ts";
import { runWell } from "../support/command.ts";
import { canChown, posixOnly } from "../support/needs.ts";
import { asNobody, canRunAsNobody, NOBODY } from "../support/nobody.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(5_000);

const form = DEFAULT_COMPRESSION;
const diffId = parseDiffId(`sha256:${"d".repeat(64)}`, "test");
const bytes = Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3);
const digest = digestOf(bytes);
const document = new TextEncoder().encode('{"author":"Zoë"}');
const origin = "https://registry.example.com";
const key = { origin, repository: "team/app", digest };
const location = `${origin}/v2/team/app/blobs/uploads/1`;
const LONG_AGO = new Date("2020-01-01T00:00:00Z");

/** A cache with one file of each kind, and a folder beside it with files that are not the cache's. */
async function filledCache(owners: readonly number[] = []) {
  const folder = await temporaryFolder();
  const distrusted: [name: string, why: Distrust][] = [];
  const directory = join(folder.path, "cache");
  const open = () =>
    openLayerCache(directory, {
      owners,
      onDistrust: (path, why) => distrusted.push([path.slice(directory.length + 1), why]),
    });
  const cache = await open();
  await Bun.write(join(directory, "x.tmp"), bytes);
  await storeLayer(cache, diffId, form, { path: join(directory, "x.tmp"), digest, sizeBytes: bytes.length });
  await storeDocuments(cache, new Map([[digestOf(document), document]]));
  await rememberUpload(cache, key, { location, offset: 5, chunkBytes: 10 });
  await rememberLimits(cache, origin, { bytesPerSecond: 4096 });
  await rememberRepository(cache, origin, "team/app", [digest]);
  return {
    open,
    cache,
    distrusted,
    directory,
    outside: join(folder.path, "outside"),
    path: (name: string) => join(directory, name),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

type Filled = Awaited<ReturnType<typeof filledCache>>;

async function nameOf({ directory }: Filled, prefix: string): Promise<string> {
  return (await readdir(directory)).find((name) => name.startsWith(prefix)) ?? prefix;
}

/** Each kind of file: its name, and whether it is found. */
const kinds: [kind: string, name: (at: Filled) => Promise<string>, find: (at: Filled) => Promise<unknown>][] =
  [
    ["pointer", async () => pointerName(diffId, form), ({ cache }) => findCachedLayer(cache, diffId, form)],
    ["blob", async () => hexOf(digest), ({ cache }) => findCachedLayer(cache, diffId, form)],
    ["engine's blob", async () => hexOf(digest), ({ cache }) => findPackedLayer(cache, digest, true)],
    [
      "document",
      async () => hexOf(digestOf(document)),
      ({ cache }) => findCachedDocument(cache, digestOf(document)),
    ],
    ["upload note", (at) => nameOf(at, `${hexOf(digest)}-upload-`), ({ cache }) => recallUpload(cache, key)],
    ["note of places", (at) => nameOf(at, "places-"), ({ cache }) => recallRepository(cache, origin, digest)],
    [
      "note of limits",
      (at) => nameOf(at, "limit-"),
      async ({ cache }) => (await recallLimits(cache, origin)).bytesPerSecond,
    ],
  ];

const spoilers: [what: string, spoil: (path: string, at: Filled) => Promise<unknown>][] = [
  [
    "a link to a file with the right content",
    async (path, { outside }) => {
      await Bun.write(outside, await readFile(path));
      await utimes(outside, LONG_AGO, LONG_AGO);
      await rm(path);
      await symlink(outside, path);
    },
  ],
  ["a link to itself", (path) => rm(path).then(() => symlink(path, path))],
  ["a link to /dev/zero", (path) => rm(path).then(() => symlink("/dev/zero", path))],
  ["a pipe", (path) => rm(path).then(() => runWell(["mkfifo", path]))],
  ["a folder", (path) => rm(path).then(() => mkdir(path))],
  ["a file that everybody may write to", (path) => chmod(path, 0o646)],
];

describe.skipIf(!posixOnly())("a cache", () => {
  const cases = kinds.flatMap(([kind, name, find]) =>
    spoilers.map(([what, spoil]) => ({ kind, what, name, find, spoil })),
  );
  test.each(cases)("treats a $kind as missing if it is $what, and leaves it as it is", async (given) => {
    const { kind, what, name, find, spoil } = given;
    await using at = await filledCache();
    const path = at.path(await name(at));
    expect(await find(at)).toBeDefined();
    await spoil(path, at);
    expect(await find(at)).toBeUndefined();
    const isOpen = what.includes("everybody");
    expect(at.distrusted).toEqual(isOpen ? [[await name(at), "writable"]] : []);
    if (what.includes("content")) expect((await stat(at.outside)).mtime).toEqual(LONG_AGO);
    // "cache" lists it, or not, and does not wait for it.
    const { blobs } = await readCache(at.directory);
    const isListed = isOpen || !["blob", "engine's blob"].includes(kind);
    expect(blobs.some((blob) => blob.name === hexOf(digest))).toBe(isListed);
  });

  test.each(kinds)("does not read a %s of gigabytes", async (kind, name, find) => {
    await using at = await filledCache();
    const path = at.path(await name(at));
    await truncate(path, 8 * 1024 ** 3);
    // Layers are as large as they are: they are checked as they are sent.
    if (kind.endsWith("blob")) expect(await find(at)).toBeDefined();
    else expect(await find(at)).toBeUndefined();
    await readCache(at.directory);
  });

  test.each(kinds)(
    "uses a %s that a group may write to, or that everybody may read",
    async (_, name, find) => {
      await using at = await filledCache();
      const path = at.path(await name(at));
      for (const mode of [0o644, 0o664, 0o600, 0o660]) {
        await chmod(path, mode);
        expect(await find(at)).toBeDefined();
      }
      expect(at.distrusted).toEqual([]);
    },
  );
});

describe.skipIf(!canChown())("files of another user", () => {
  test.each(kinds)("are not read: %s", async (_, name, find) => {
    await using at = await filledCache();
    const path = at.path(await name(at));
    await chown(path, NOBODY, NOBODY);
    const before = await lstat(path);
    expect(await find(at)).toBeUndefined();
    expect(at.distrusted).toEqual([[await name(at), "owner"]]);
    expect((await lstat(path)).mtime).toEqual(before.mtime);
  });

  test.each(kinds)("are read if that user's files count: %s", async (_, name, find) => {
    await using at = await filledCache([NOBODY]);
    await chown(at.path(await name(at)), NOBODY, NOBODY);
    expect(await find(at)).toBeDefined();
    expect(at.distrusted).toEqual([]);
  });
});

describe.skipIf(!posixOnly())("a cache folder", () => {
  const folders: [what: string, why: Distrust | undefined, change: (path: string) => Promise<unknown>][] = [
    ["that everybody may write to: none", "writable", (path) => chmod(path, 0o777)],
    ["with the sticky bit, as /tmp has it: one's own", undefined, (path) => chmod(path, 0o1777)],
    ["that a group may write to: all", undefined, (path) => chmod(path, 0o2775)],
  ];
  if (canChown()) folders.push(["of another user: none", "owner", (path) => chown(path, NOBODY, NOBODY)]);
  test.each(folders)("%s of its files counts", async (_, why, change) => {
    await using at = await filledCache();
    await change(at.directory);
    const cache = await at.open();
    for (const [, , find] of kinds) {
      const found = await find({ ...at, cache });
      if (why === undefined) expect(found).toBeDefined();
      else expect(found).toBeUndefined();
    }
    expect(at.distrusted).toEqual(why === undefined ? [] : [["", why]]);
  });

  test("is the user's alone when it is made, and so is all that is put there", async () => {
    await using at = await filledCache();
    using _lock = tryLock(at.directory, "a", "exclusive");
    expect((await stat(at.directory)).mode & 0o777).toBe(0o700);
    const modes = new Set<number>();
    for (const name of await readdir(at.directory)) {
      // The test itself made the layer's file.
      if (name !== hexOf(digest)) modes.add((await stat(at.path(name))).mode & 0o777);
    }
    expect([...modes]).toEqual([0o600]);
  });
});

describe.skipIf(!posixOnly())("a file that is stored", () => {
  const obstacles: [what: string, put: (path: string, at: Filled) => Promise<unknown>][] = [
    ["a folder", (path) => mkdir(path)],
    ["a link", (path, { outside }) => Bun.write(outside, "mine").then(() => symlink(outside, path))],
    ["a link to itself", (path) => symlink(path, path)],
    ["a pipe", (path) => runWell(["mkfifo", path])],
  ];
  test.each(obstacles)("neither fails for %s in its way, nor is written through that", async (_, put) => {
    await using at = await filledCache();
    const names = await readdir(at.directory);
    for (const name of names) {
      await rm(at.path(name));
      await put(at.path(name), at);
    }
    await Bun.write(at.path("x.tmp"), bytes);
    const file = { path: at.path("x.tmp"), digest, sizeBytes: bytes.length };
    const { content } = await storeLayer(at.cache, diffId, form, file);
    expect(await content.bytes()).toEqual(bytes);
    await storeDocuments(at.cache, new Map([[digestOf(document), document]]));
    await rememberUpload(at.cache, key, { location, offset: 5, chunkBytes: 10 });
    if (await Bun.file(at.outside).exists()) expect(await Bun.file(at.outside).text()).toBe("mine");
    await at.open();
  });

  test("leaves a folder with a temporary file's name as it is", async () => {
    await using at = await filledCache();
    const host = hostname().replace(/[^A-Za-z0-9]+/g, "_");
    const name = `layer-${host}-999999999-${crypto.randomUUID()}.tmp`;
    await mkdir(at.path(name));
    await at.open();
    expect(await readdir(at.directory)).toContain(name);
  });
});

describe.skipIf(!canRunAsNobody())("a folder that users share", () => {
  test("may hold another user's files, which disturb no push and stay as they are", async () => {
    await using folder = await temporaryFolder();
    await chmod(folder.path, 0o755);
    const directory = join(folder.path, "cache");
    await mkdir(directory);
    await chmod(directory, 0o1777);
    const names = [hexOf(digest), pointerName(diffId, form), hexOf(digestOf(document))];
    for (const name of names) {
      await Bun.write(join(directory, name), "theirs");
      await chown(join(directory, name), 1, 1);
    }
    // Root could replace them all the same.
    const program = `
      const { openLayerCache, storeLayer } = await import(${source("layers")});
      const { storeDocuments } = await import(${source("documents")});
      const cache = await openLayerCache(${JSON.stringify(directory)});
      const path = cache.directory + "/x.tmp";
      await Bun.write(path, "mine");
      const file = { path, digest: "${digest}", sizeBytes: 4 };
      const { content } = await storeLayer(cache, "${diffId}", { kind: "gzip", level: 1 }, file);
      await storeDocuments(cache, new Map([["${digestOf(document)}", new Uint8Array(3)]]));
      console.log(await content.text());`;
    const said = await runWell(asNobody([process.execPath, "-e", program]), { cwd: "/" });
    expect(said.trim()).toBe("mine");
    for (const name of names) expect(await Bun.file(join(directory, name)).text()).toBe("theirs");
  });
});

function source(name: string): string {
  return JSON.stringify(join(import.meta.dir, `../../src/store/${name}.ts`));
}
