import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { sha256 } from "../support/sha256.ts";

export type CacheCheck = {
  /** Undefined: every file is what its name says. */
  readonly problem: string | undefined;
  /** Temporary files, which nobody trusts. */
  readonly leftovers: number;
  /** The size of all blobs together. */
  readonly blobBytes: number;
};

const BLOB = /^[0-9a-f]{64}$/;

/**
 * Holds every file of a cache against its name: a blob is named by its digest, a pointer by that of what its blob
 * unpacks to.
 */
export async function whatIsWrongInCache(folder: string): Promise<CacheCheck> {
  const names = await readdir(folder).catch(() => []);
  const problems = await Promise.all(
    names.map((name) => {
      if (name.endsWith(".tmp")) return undefined;
      if (name.endsWith("-ptr")) return whatIsWrongWithPointer(folder, name);
      return BLOB.test(name) ? whatIsWrongWithBlob(folder, name) : undefined;
    }),
  );
  const sizes = names.filter((name) => BLOB.test(name)).map((name) => Bun.file(join(folder, name)).size);
  return {
    blobBytes: sizes.reduce((sum, size) => sum + size, 0),
    problem: problems.find((problem) => problem !== undefined),
    leftovers: names.filter((name) => name.endsWith(".tmp")).length,
  };
}

async function whatIsWrongWithBlob(folder: string, name: string): Promise<string | undefined> {
  const digest = sha256(await readFile(join(folder, name)));
  return digest === `sha256:${name}` ? undefined : `the blob ${name} is ${digest}`;
}

async function whatIsWrongWithPointer(folder: string, name: string): Promise<string | undefined> {
  const blob = await readFile(join(folder, name), "utf8");
  const raw = await readFile(join(folder, blob)).then(gunzipSync, () => undefined);
  if (raw === undefined) return `the pointer ${name} leads to "${blob}", which is not there`;
  return `${sha256(raw)}-ptr` === `sha256:${name}` ? undefined : `the pointer ${name} leads to another layer`;
}
