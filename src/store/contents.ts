import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError, OTHER_CACHE } from "../errors.ts";
import { blobOfUpload, type CacheFileKind, kindOfCacheFile } from "./file-names.ts";

/** A file of ours in the cache's folder. */
export type CacheFile = {
  readonly name: string;
  readonly kind: CacheFileKind;
  readonly sizeBytes: number;
  /** Its date, which a push that uses a blob sets anew. */
  readonly usedAt: Date;
};

/** A compressed layer, and what goes when it goes. */
export type CachedBlob = CacheFile & {
  /** What finds it by the digest of the raw layer, or a config by the image's ID. */
  readonly pointers: readonly CacheFile[];
  /** Notes about uploads of it that were begun, and not ended. */
  readonly uploads: readonly CacheFile[];
};

export type CacheContents = {
  readonly directory: string;
  /** The last used first. */
  readonly blobs: readonly CachedBlob[];
  /** Notes about uploads of blobs that are not kept here, such as layers that come compressed. */
  readonly otherUploads: readonly CacheFile[];
  /** Notes about where blobs were seen, and by which names engines save layers. */
  readonly places: readonly CacheFile[];
  /** Notes about the bodies that a registry takes. */
  readonly limits: readonly CacheFile[];
  /** Files that a running push writes, or a killed one left. */
  readonly unfinished: readonly CacheFile[];
  /** Pointers that lead to nothing. */
  readonly strayPointers: readonly CacheFile[];
  readonly locks: readonly CacheFile[];
};

/** Small enough to read whatever claims to be a pointer. */
const POINTER_BYTES = 100;

/**
 * Looks at what is in a cache, by name. Only regular files with a name of ours are seen: no folders, no links, nothing
 * that somebody else keeps there. A folder that is not there is an empty cache. Throws `FILE_FAILED`.
 */
export async function readCache(directory: string): Promise<CacheContents> {
  try {
    const files = await listFiles(directory);
    const of = (kind: CacheFileKind) => files.filter((file) => file.kind === kind);
    const blobs = of("blob");
    const targets = new Map<CacheFile, string>();
    const pointers = [...of("pointer"), ...of("image")];
    for (const pointer of pointers) targets.set(pointer, await readPointer(directory, pointer));
    const isKept = (name: string | undefined) => blobs.some((blob) => blob.name === name);
    return {
      directory,
      blobs: blobs
        .map((blob) => ({
          ...blob,
          pointers: pointers.filter((pointer) => targets.get(pointer) === blob.name),
          uploads: of("upload").filter(({ name }) => blobOfUpload(name) === blob.name),
        }))
        .sort((a, b) => b.usedAt.getTime() - a.usedAt.getTime()),
      otherUploads: of("upload").filter(({ name }) => !isKept(blobOfUpload(name))),
      places: of("places"),
      limits: of("limit"),
      unfinished: of("temporary"),
      strayPointers: pointers.filter((pointer) => !isKept(targets.get(pointer))),
      locks: of("lock"),
    };
  } catch (cause) {
    throw fileError(cause, `read the cache folder "${directory}"`, OTHER_CACHE);
  }
}

/** The size of files together, in bytes. */
export function totalBytes(files: readonly CacheFile[]): number {
  return files.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
}

async function listFiles(directory: string): Promise<CacheFile[]> {
  const files: CacheFile[] = [];
  for (const name of (await unlessGone(readdir(directory))) ?? []) {
    const kind = kindOfCacheFile(name);
    if (kind === undefined) continue;
    const status = await unlessGone(lstat(join(directory, name)));
    if (status?.isFile()) files.push({ name, kind, sizeBytes: status.size, usedAt: status.mtime });
  }
  return files;
}

/** The name that a pointer holds, whatever it is. */
async function readPointer(directory: string, { name }: CacheFile): Promise<string> {
  const text = await unlessGone(Bun.file(join(directory, name)).slice(0, POINTER_BYTES).text());
  return text?.trim() ?? "";
}

/** A push may be running, whose files come and go. */
async function unlessGone<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
