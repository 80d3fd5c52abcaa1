import * as v from "valibot";
import { isDigest } from "./digest.ts";
import { type Disk, readText, writeText } from "./disk.ts";
import { isTag } from "./route.ts";

const storedManifestSchema = v.object({ contentType: v.string(), text: v.string() });

export type StoredManifest = v.InferOutput<typeof storedManifestSchema>;

/** A manifest is kept under each of its names, the digest among them: R2 has no aliases. */
export async function saveManifest(
  disk: Disk,
  repository: string,
  reference: string,
  manifest: StoredManifest,
): Promise<void> {
  await writeText(disk, manifestPath(disk, repository, reference), JSON.stringify(manifest));
}

export async function findManifest(
  disk: Disk,
  repository: string,
  reference: string,
): Promise<StoredManifest | undefined> {
  if (!isReference(reference)) return undefined;
  const text = await readText(manifestPath(disk, repository, reference));
  return text === undefined ? undefined : v.parse(storedManifestSchema, JSON.parse(text));
}

/** A tag or a digest. Also what keeps a reference from leaving the repository's folder. */
export function isReference(reference: string): boolean {
  return isTag(reference) || isDigest(reference);
}

function manifestPath(disk: Disk, repository: string, reference: string): string {
  return disk.path(repository, "_manifests", `${reference}.json`);
}
