import { rm } from "node:fs/promises";
import { type Digest, digestOf, isDigest } from "./digest.ts";
import { type Disk, moveInto, readText, writeText } from "./disk.ts";

/**
 * Blobs belong to a repository: R2's key starts with its name. A mounted blob is a small object of its own, whose
 * content is the key of the blob it stands for.
 */
export type StoredBlob =
  | { type: "content"; path: string; sizeBytes: number }
  | { type: "link"; text: string; repository: string };

export async function findBlob(
  disk: Disk,
  repository: string,
  digest: string,
): Promise<StoredBlob | undefined> {
  if (!isDigest(digest)) return undefined;
  const path = blobPath(disk, repository, digest);
  const file = Bun.file(path);
  if (await file.exists()) return { type: "content", path, sizeBytes: file.size };
  const text = await readText(linkPath(disk, repository, digest));
  if (text === undefined) return undefined;
  return { type: "link", text, repository: text.slice(0, -`/blobs/${digest}`.length) };
}

/** Follows links to the content. Mounting never makes a circle, so this ends. */
export async function findContent(
  disk: Disk,
  repository: string,
  digest: string,
): Promise<{ path: string; sizeBytes: number } | undefined> {
  const blob = await findBlob(disk, repository, digest);
  return blob?.type === "link" ? findContent(disk, blob.repository, digest) : blob;
}

/** Takes over a file whose digest has been checked; a link in its place gives way. */
export async function putBlob(
  disk: Disk,
  repository: string,
  digest: Digest,
  temporary: string,
): Promise<void> {
  await moveInto(blobPath(disk, repository, digest), temporary);
  await rm(linkPath(disk, repository, digest), { force: true });
}

/**
 * Makes the blob of one repository appear in another. As in the real registry, it replaces what was there, and a
 * mount of a mounted blob leads to the original.
 *
 * @returns whether there was something to mount
 */
export async function mountBlob(
  disk: Disk,
  from: string,
  repository: string,
  digest: Digest,
): Promise<boolean> {
  const blob = await findBlob(disk, from, digest);
  if (blob === undefined || from === repository) return false;
  if (blob.type === "link") return mountBlob(disk, blob.repository, repository, digest);
  await writeText(disk, linkPath(disk, repository, digest), `${from}/blobs/${digest}`);
  await rm(blobPath(disk, repository, digest), { force: true });
  return true;
}

/** What HEAD says. Of a link it describes the link, not the blob: R2 knows only the object it holds. */
export function describeBlob(blob: StoredBlob, digest: string): { sizeBytes: number; digest: string } {
  if (blob.type === "content") return { sizeBytes: blob.sizeBytes, digest };
  return { sizeBytes: Buffer.byteLength(blob.text), digest: digestOf(blob.text) };
}

function blobPath(disk: Disk, repository: string, digest: Digest): string {
  return disk.path(repository, "_blobs", digest);
}

function linkPath(disk: Disk, repository: string, digest: Digest): string {
  return disk.path(repository, "_blobs", `${digest}.link`);
}
