import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError, OTHER_CACHE } from "../errors.ts";
import { blobOfUpload, type CacheFileKind, kindOfCacheFile } from "./file-names.ts";
import { MAX_POINTER_BYTES } from "./layers.ts";
import { readRegularFile } from "./own-file.ts";

/** A file of the cache. */
export type CacheFile = {
  readonly name: string;
  readonly kind: CacheFileKind;
  readonly sizeBytes: number;
  /** The modification time. A push renews it for each layer that it finds in the cache. */
  readonly usedAt: Date;
};

/** A layer or an image document (config, manifest or index), with the files to remove together with it. */
export type CachedBlob = CacheFile & {
  /** Pointers from diffIDs, and `-image` pointers of older versions. */
  readonly pointers: readonly CacheFile[];
  /** Saved offsets of its unfinished uploads. */
  readonly uploads: readonly CacheFile[];
};

export type CacheContents = {
  readonly directory: string;
  /** The most recently used first. */
  readonly blobs: readonly CachedBlob[];
  /** Saved offsets of uploads whose blobs are not cached, such as compressed layers of an archive. */
  readonly otherUploads: readonly CacheFile[];
  /** Files that list in which repositories of a registry blobs were seen. */
  readonly places: readonly CacheFile[];
  /** Saved body limits and upload rates of registries. */
  readonly limits: readonly CacheFile[];
  /** Temporary files of running or killed pushes. */
  readonly unfinished: readonly CacheFile[];
  /** Pointers to missing blobs. */
  readonly strayPointers: readonly CacheFile[];
  readonly locks: readonly CacheFile[];
};

/**
 * Lists a cache's files. Ignores folders, links and files whose names are not the cache's. A missing folder is an empty
 * cache. Throws `FILE_FAILED`.
 */
export async function readCache(directory: string): Promise<CacheContents> {
  try {
    const files = await listFiles(directory);
    const filesOf = (kind: CacheFileKind) => files.filter((file) => file.kind === kind);
    const blobs = filesOf("blob");
    const targets = new Map<CacheFile, string>();
    const pointers = [...filesOf("pointer"), ...filesOf("image")];
    for (const pointer of pointers) targets.set(pointer, readPointer(directory, pointer));
    const isKept = (name: string | undefined) => blobs.some((blob) => blob.name === name);
    return {
      directory,
      blobs: blobs
        .map((blob) => ({
          ...blob,
          pointers: pointers.filter((pointer) => targets.get(pointer) === blob.name),
          uploads: filesOf("upload").filter(({ name }) => blobOfUpload(name) === blob.name),
        }))
        .sort((a, b) => b.usedAt.getTime() - a.usedAt.getTime()),
      otherUploads: filesOf("upload").filter(({ name }) => !isKept(blobOfUpload(name))),
      places: filesOf("places"),
      limits: filesOf("limit"),
      unfinished: filesOf("temporary"),
      strayPointers: pointers.filter((pointer) => !isKept(targets.get(pointer))),
      locks: filesOf("lock"),
    };
  } catch (cause) {
    throw fileError(cause, `read the cache folder "${directory}"`, OTHER_CACHE);
  }
}

/** Sums the sizes of files, in bytes. */
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

/** Returns a pointer's content, unvalidated and whoever owns the file. Empty if it cannot be read. */
function readPointer(directory: string, { name }: CacheFile): string {
  return new TextDecoder().decode(readRegularFile(join(directory, name), MAX_POINTER_BYTES)).trim();
}

/** Returns undefined for a file that a running push has removed meanwhile. */
async function unlessGone<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
