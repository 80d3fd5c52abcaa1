/** `chunkpush cache`, as a user runs it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { link, mkdir, readdir, readFile, rm, symlink, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { digestOf, hexOf } from "../../src/oci/digest.ts";
import { tryLock } from "../../src/store/locks.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const DAY_MS = 86_400_000;
const ORIGIN = "0123456789abcdef";

/** A name of 64 hex digits for any text. */
function hexFor(text: string): string {
  return hexOf(digestOf(new TextEncoder().encode(text)));
}

function short(name: string): string {
  return `sha256:${name.slice(0, 12)}`;
}

async function setUp() {
  const folder = await temporaryFolder();
  const cache = join(folder.path, ".cache");
  await mkdir(cache);
  const write = async (name: string, content: string | Uint8Array<ArrayBuffer>, ageDays = 0) => {
    await Bun.write(join(cache, name), content);
    const date = new Date(Date.now() - ageDays * DAY_MS);
    await utimes(join(cache, name), date, date);
    return name;
  };
  return {
    cache,
    folder: folder.path,
    write,
    /** A layer as a push leaves it, and what belongs to it. */
    async layer(text: string, sizeBytes: number, ageDays: number, uploads = 0) {
      const blob = hexFor(text);
      const files = [
        await write(blob, seededBytes(sizeBytes, 1), ageDays),
        await write(`${hexFor(`raw ${text}`)}-ptr`, blob, ageDays + 100),
      ];
      for (let i = 0; i < uploads; i++)
        files.push(await write(`${blob}-upload-${i}${ORIGIN.slice(1)}`, "{}"));
      return { blob, files };
    },
    run: (...args: string[]) => runCli(["cache", ...args], { cwd: folder.path }),
    async prune(...args: string[]) {
      const { code, stdout, stderr } = await runCli(["cache", "prune", ...args], { cwd: folder.path });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return stdout;
    },
    names: async () => (await readdir(cache)).sort(),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("the command cache", () => {
  test("shows what is there, the last used first, and touches nothing", async () => {
    await using setup = await setUp();
    const old = await setup.layer("old", 2_000_000, 40);
    const young = await setup.layer("young", 15_000, 2, 2);
    await setup.write(`${hexFor("elsewhere")}-upload-${ORIGIN}`, "{}");
    await setup.write(`${hexFor("stray")}-ptr`, hexFor("nowhere"));
    await setup.write(`layer-host-1-${crypto.randomUUID()}.tmp`, seededBytes(3000, 1));
    await setup.write(`limit-${ORIGIN}`, "{}");
    await setup.write("mine.txt", "mine");
    const before = await setup.names();
    const { code, stdout, stderr } = await setup.run();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n")).toEqual([
      "Cache: .cache",
      "2 blobs of 2 layers, 2.0 MB",
      "3 resumable uploads, 1 of blobs that are not cached",
      "Incomplete, of running or killed pushes: 1 file, 3.0 kB",
      "Dangling pointers: 1 file, 64 B",
      "",
      "BLOB                    SIZE  LAST USED",
      `${short(young.blob)}  15.0 kB  2 days ago   2 resumable uploads`,
      `${short(old.blob)}   2.0 MB  40 days ago`,
      "",
    ]);
    expect(await setup.names()).toEqual(before);
  });

  test("shows nothing where the cache is empty, or not there", async () => {
    await using setup = await setUp();
    const empty = "Cache: .cache\nIt has no compressed layers.\n";
    expect(await setup.run()).toEqual({ code: 0, stdout: empty, stderr: "" });
    await rm(setup.cache, { recursive: true });
    expect(await setup.run()).toEqual({ code: 0, stdout: empty, stderr: "" });
    expect(await setup.prune("--all")).toBe("Freed 0 B in .cache; kept 0 blobs, 0 B\n");
    expect(await readdir(setup.folder)).not.toContain(".cache");
  });
});

describe("cache prune", () => {
  test("removes by age a blob with its pointer and its notes, and keeps what was used since", async () => {
    await using setup = await setUp();
    const old = await setup.layer("old", 2000, 31, 1);
    const young = await setup.layer("young", 1000, 29, 1);
    expect(await setup.prune("--older-than", "30d")).toBe(
      `Removed ${short(old.blob)}  2.0 kB\nFreed 2.1 kB in .cache; kept 1 blob, 1.0 kB\n`,
    );
    expect(await setup.names()).toEqual(young.files.sort());
  });

  test("removes the pointer of every form of a layer with its blob", async () => {
    await using setup = await setUp();
    const { blob, files } = await setup.layer("old", 2000, 31);
    await setup.write(`${hexFor("raw old")}-zstd-19-ptr`, blob);
    await setup.write(`${hexFor("raw old")}-gzip-6-ptr`, hexFor("nowhere"));
    await setup.write(`${hexFor("raw old")}-zstd-2-ptr.lock`, "");
    expect(await setup.prune("--max-size", "3kB")).toContain("kept 1 blob");
    expect(await setup.names()).toEqual([...files, `${hexFor("raw old")}-zstd-19-ptr`].sort());
    await setup.prune("--older-than", "30d");
    expect(await setup.names()).toEqual([]);
  });

  test("removes by size what was not used for longest first", async () => {
    await using setup = await setUp();
    const layers = [
      await setup.layer("c", 1000, 3),
      await setup.layer("a", 1000, 1),
      await setup.layer("d", 10, 4),
      await setup.layer("b", 1000, 2),
    ];
    const kept = [layers[1], layers[3]].flatMap((layer) => layer?.files ?? []);
    const dry = await setup.prune("--max-size", "2kB", "--dry-run");
    expect(dry).toBe(
      `Would remove ${short(hexFor("c"))}  1.0 kB\nWould remove ${short(hexFor("d"))}    10 B\n` +
        "Would free 1.1 kB in .cache; would keep 2 blobs, 2.0 kB\n",
    );
    expect(await setup.names()).toEqual(layers.flatMap(({ files }) => files).sort());
    expect(await setup.prune("--max-size", "2kB")).toContain("kept 2 blobs, 2.0 kB");
    expect(await setup.names()).toEqual(kept.sort());
    expect(await setup.prune("--max-size", "2kB")).toBe("Freed 0 B in .cache; kept 2 blobs, 2.0 kB\n");
    await setup.prune("--max-size", "999B");
    expect(await setup.names()).toEqual([]);
  });

  test("removes by age and size together", async () => {
    await using setup = await setUp();
    await setup.layer("a", 1000, 40);
    await setup.layer("b", 1000, 20);
    const last = await setup.layer("c", 1000, 10);
    await setup.prune("--older-than", "30d", "--max-size", "1kB");
    expect(await setup.names()).toEqual(last.files.sort());
  });

  test("removes what killed pushes left, whatever the rule, and notes by their age", async () => {
    await using setup = await setUp();
    const layer = await setup.layer("a", 1000, 1);
    await setup.write(`layer-${hostname().replace(/\W+/g, "_")}-1-${crypto.randomUUID()}.tmp`, "x");
    await setup.write(`${hexFor("stray")}-ptr`, hexFor("nowhere"));
    await setup.write(`${hexFor("layer")}-ptr.lock`, "");
    await setup.write("cache.lock", "");
    await setup.write(`limit-${ORIGIN}`, "{}", 31);
    const note = await setup.write(`${hexFor("elsewhere")}-upload-${ORIGIN}`, "{}", 29);
    await setup.write(`${hexFor("elsewhere")}-upload-f${ORIGIN.slice(1)}`, "{}", 31);
    expect(await setup.prune("--older-than", "30d")).toContain("Removed 5 other files, ");
    expect(await setup.names()).toEqual([...layer.files, note].sort());
    await setup.prune("--all");
    expect(await setup.names()).toEqual([]);
  });

  // Windows knows no such names, and lets not everybody make links.
  test.skipIf(process.platform === "win32")(
    "removes nothing that is not ours, and follows no link",
    async () => {
      await using setup = await setUp();
      const outside = join(setup.folder, "outside");
      await mkdir(outside);
      const treasure = join(outside, hexFor("treasure"));
      await Bun.write(treasure, "treasure");
      const hex = hexFor("x");
      const kept = [
        "mine.txt",
        "mine.tmp",
        "manifest.json",
        hex.slice(1),
        `${hex}0`,
        hex.toUpperCase(),
        `${hex}-ptr~`,
        `${hex}-lz4-1-ptr`,
        `${hex}-zstd-ptr`,
        `${hex}-zstd-100-ptr`,
        `${hex}-ptr\n`,
        `${hex}\n`,
        `-rf`,
        `${hex}-upload-${ORIGIN}0`,
        `${hex}-upload-..`,
        "limit-x",
        "other.lock",
        `layer-host-1-${"0".repeat(35)}.tmp`,
      ];
      for (const name of kept) await setup.write(name, "mine", 1000);
      const links: [name: string, target: string][] = [
        [hexFor("link to a file"), treasure],
        [hexFor("link to a folder"), outside],
        [`${hexFor("pointer")}-ptr`, treasure],
        [`${hexFor("upload")}-upload-${ORIGIN}`, treasure],
        [`layer-host-1-${crypto.randomUUID()}.tmp`, outside],
        [hexFor("link to nothing"), join(outside, "nothing")],
      ];
      for (const [name, target] of links) await symlink(target, join(setup.cache, name));
      // Folders under names of ours, and what is in them.
      const folders = [hexFor("folder"), `${hexFor("folder")}-ptr`];
      for (const name of folders) {
        await mkdir(join(setup.cache, name));
        await Bun.write(join(setup.cache, name, hexFor("inside")), "mine");
      }
      // A pointer may say what it likes.
      const liars = [`../outside/${hexFor("treasure")}`, treasure, "", "x".repeat(100_000)];
      for (const [i, text] of liars.entries()) await setup.write(`${hexFor(`liar ${i}`)}-ptr`, text);
      // The same file under two names: one of them is the cache's.
      await link(treasure, join(setup.cache, hexFor("hard link")));

      const stdout = await setup.prune("--all");
      expect(stdout).toContain(`Removed ${short(hexFor("hard link"))}`);
      expect(stdout).toContain("Removed 4 other files");
      expect(await setup.names()).toEqual([...kept, ...folders, ...links.map(([name]) => name)].sort());
      expect(await readFile(treasure, "utf8")).toBe("treasure");
      expect(await readdir(outside)).toEqual([hexFor("treasure")]);
      for (const name of folders) expect(await readdir(join(setup.cache, name))).toEqual([hexFor("inside")]);
    },
  );

  test("waits for nobody: where a push is running, it says so, and removes nothing", async () => {
    await using setup = await setUp();
    const { files } = await setup.layer("a", 1000, 100);
    {
      using _push = tryLock(setup.cache, "cache", "shared");
      for (const more of [[], ["--dry-run"]]) {
        const { code, stdout, stderr } = await setup.run("prune", "--all", ...more);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toContain("a running push uses it");
      }
      // Looking is always allowed.
      expect((await setup.run()).stdout).toContain("1 blob of 1 layer");
    }
    expect(await setup.names()).toEqual([...files, "cache.lock"].sort());
  });

  test("leaves the usual cache alone where another folder is named, or set", async () => {
    await using setup = await setUp();
    const { files } = await setup.layer("a", 1000, 100);
    const other = join(setup.folder, "other");
    await mkdir(other);
    await Bun.write(join(other, hexFor("x")), "x");
    const env = { CHUNKPUSH_CACHE_DIR: "other" };
    const { stdout } = await runCli(["cache"], { cwd: setup.folder, env });
    expect(stdout).toStartWith("Cache: other\n1 blob, 1 B\n");
    await setup.prune("--all", "--cache-dir", "other");
    expect(await readdir(other)).toEqual([]);
    expect(await setup.names()).toEqual(files.sort());
  });
});
