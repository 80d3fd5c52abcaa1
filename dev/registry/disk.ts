import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Digest } from "./digest.ts";

/**
 * Where the registry keeps its objects. R2 shows an object whole or not at all, so everything here is written
 * under a temporary name and renamed.
 */
export type Disk = {
  /** The file of an R2 key such as `<repository>/_blobs/<digest>`. */
  path(...key: string[]): string;
  temporaryPath(): string;
};

export async function openDisk(directory: string): Promise<Disk> {
  const temporary = join(directory, "temporary");
  // What a killed server left half-written is worth nothing.
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  return {
    path: (...key) => join(directory, "objects", ...key),
    temporaryPath: () => join(temporary, crypto.randomUUID()),
  };
}

export type Written = { sizeBytes: number; digest: Digest };

/** Streams to a file and hashes on the way; holds one piece of the stream at a time. */
export async function writeStream(path: string, content: AsyncIterable<Uint8Array>): Promise<Written> {
  const hasher = new Bun.CryptoHasher("sha256");
  let sizeBytes = 0;
  await using file = await open(path, "wx");
  for await (const chunk of content) {
    hasher.update(chunk);
    sizeBytes += chunk.byteLength;
    await file.appendFile(chunk);
  }
  return { sizeBytes, digest: `sha256:${hasher.digest("hex")}` };
}

export async function moveInto(path: string, temporary: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await rename(temporary, path);
}

export async function writeText(disk: Disk, path: string, text: string): Promise<void> {
  const temporary = disk.temporaryPath();
  await Bun.write(temporary, text);
  await moveInto(path, temporary);
}

export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    // Or gone since a moment ago: another request may have deleted it.
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Runs a job with the name of a file to write, and leaves nothing of it unless the job moved it away. */
export async function withTemporaryFile<T>(disk: Disk, job: (path: string) => Promise<T>): Promise<T> {
  const path = disk.temporaryPath();
  try {
    return await job(path);
  } finally {
    await rm(path, { force: true });
  }
}
