/** Caches as somebody with bad intentions may leave them, by chance and by seed. */
import { chmod, chown, link, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { runWell } from "../support/command.ts";
import type { Random } from "../support/fuzz.ts";
import { NOBODY } from "../support/nobody.ts";

/** Files of a cache, by name. */
export type CacheFiles = ReadonlyMap<string, string | Uint8Array>;

/** What no push may touch: files with the cache's names, and a pipe, beside the cache. */
export type Outside = {
  readonly path: string;
  /** Throws where something was added, removed or changed, if only its date. */
  assertUntouched(): Promise<void>;
};

/** Makes the files that links in a planted cache lead to. */
export async function outsideOf(folder: string, files: CacheFiles): Promise<Outside> {
  const path = join(folder, "outside");
  await mkdir(path);
  for (const [name, content] of files) await writeFile(join(path, name), content);
  await runWell(["mkfifo", join(path, "pipe")]);
  const snapshot = async () => {
    const names = (await readdir(path)).filter((name) => name !== "pipe").sort();
    const seen = names.map(async (name) => {
      const { mode, uid, mtimeMs } = await stat(join(path, name));
      return [name, mode, uid, mtimeMs, (await readFile(join(path, name))).toString("base64")];
    });
    return JSON.stringify(await Promise.all(seen));
  };
  const before = await snapshot();
  return {
    path,
    async assertUntouched() {
      if ((await snapshot()) !== before) throw new Error("Something outside of the cache was touched.");
    },
  };
}

/** Fills a cache's folder with files, damaged or replaced, and with what else may lie under the cache's names. */
export async function plantCache(
  directory: string,
  files: CacheFiles,
  outside: Outside,
  random: Random,
): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o700 });
  const names = [...files.keys()];
  for (const name of names) {
    if (random.below(8) > 0) await plant(join(directory, name), contentOf(random.pick(names), name), name);
  }
  const host = hostname().replace(/[^A-Za-z0-9]+/g, "_");
  const strays = [
    "cache.lock",
    ...names.map((name) => `${name}.lock`),
    `layer-${host}-999999999-${crypto.randomUUID()}.tmp`,
    `layer-${host}-${"9".repeat(40)}-${crypto.randomUUID()}.tmp`,
    `${"e".repeat(64)}-ptr`,
    "not-the-cache's",
  ];
  for (const name of strays) {
    if (random.below(6) === 0) await plant(join(directory, name), mutated("", random), random.pick(names));
  }
  if (random.below(10) === 0) await chmod(directory, random.pick([0o755, 0o777, 0o1777]));

  /** Mostly the file's own content, mostly damaged. */
  function contentOf(other: string, name: string): Uint8Array {
    const content = files.get(random.below(10) === 0 ? other : name) ?? "";
    const text = typeof content === "string" ? content : Buffer.from(content).toString("latin1");
    if (random.below(3) === 0) return Buffer.from(text, typeof content === "string" ? "utf8" : "latin1");
    return mutated(text, random);
  }

  async function plant(path: string, content: Uint8Array, name: string): Promise<void> {
    const shape = random.below(14);
    if (shape === 0) return mkdir(path);
    if (shape === 1) return symlink(path, path);
    if (shape === 2) return symlink(join(outside.path, name), path);
    if (shape === 3) return symlink(join(outside.path, "missing"), path);
    if (shape === 4) return symlink("/dev/zero", path);
    if (shape === 5) return link(join(outside.path, "pipe"), path);
    await writeFile(path, content);
    if (shape === 6) await chmod(path, random.pick([0o000, 0o644, 0o666, 0o2777]));
    if (shape === 7 && process.geteuid?.() === 0) await chown(path, NOBODY, NOBODY);
  }
}

const ODD_VALUES: readonly unknown[] = [
  ...[null, true, "", "x", [], {}, -1, 0, 1, 0.5, 2 ** 31, 2 ** 53, 1e308],
  ..."file:///etc/passwd http:// https://[::1 http://a:b@c/ //x ../.. \0 \u202e".split(" "),
  "y".repeat(100_000),
];

function mutated(text: string, random: Random): Uint8Array {
  switch (random.below(8)) {
    case 0:
      return Buffer.from(text.slice(0, random.below(text.length + 1)));
    case 1:
      return Buffer.from("[".repeat(1 + random.below(200_000)));
    case 2:
      return Buffer.from(text.repeat(1 + random.below(5)));
    case 3: {
      const bytes = Buffer.from(text);
      for (let i = 0; i <= random.below(8); i++)
        if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
      return bytes;
    }
    default:
      return Buffer.from(withOddValue(text, random));
  }
}

/** Replaces a value of an object; other text gets something odd behind it. */
function withOddValue(text: string, random: Random): string {
  const odd = ODD_VALUES[random.below(ODD_VALUES.length)];
  try {
    const value = JSON.parse(text);
    const key = random.pick([...Object.keys(value), "__proto__", "toString"]);
    return JSON.stringify(value)
      .replace("{", `{${JSON.stringify(key)}:${JSON.stringify(odd)},`)
      .replace(",}", "}");
  } catch {
    return `${text}${typeof odd === "string" ? odd : JSON.stringify(odd)}`;
  }
}
