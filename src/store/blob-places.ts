import * as v from "valibot";
import type { Digest } from "../oci/digest.ts";
import { record } from "../oci/json-schema.ts";
import { isRepository } from "../oci/reference.ts";
import { placesName } from "./file-names.ts";
import { type NoteFolder, readNote, writeNote } from "./notes.ts";

// One file per registry lists the repository in which each blob was last seen, so that a push to another repository can
// mount it. The file is only a hint: the registry decides whether the blob is there.

/** Enough for many images. At some hundred bytes each, the file stays small. */
const MAX_PLACES = 1000;

const PLACES = record(
  v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/)),
  v.pipe(v.string(), v.check(isRepository)),
);

/** Returns the repository of a registry in which a blob was last seen. */
export async function recallRepository(
  notes: NoteFolder,
  origin: string,
  digest: Digest,
): Promise<string | undefined> {
  return (await readPlaces(notes, origin))[digest];
}

/** Saves that a repository of a registry has these blobs. */
export async function rememberRepository(
  notes: NoteFolder,
  origin: string,
  repository: string,
  digests: readonly Digest[],
): Promise<void> {
  const before = await readPlaces(notes, origin);
  if (digests.every((digest) => before[digest] === repository)) return;
  const here = new Set<string>(digests);
  const places = [
    ...Object.entries(before).filter(([digest]) => !here.has(digest)),
    ...[...here].map((digest) => [digest, repository]),
  ];
  await writeNote(notes, placesName(origin), Object.fromEntries(places.slice(-MAX_PLACES)));
}

/** Reads all places, the most recent ones last. */
async function readPlaces(notes: NoteFolder, origin: string): Promise<Readonly<Record<string, string>>> {
  return (await readNote(notes, placesName(origin), PLACES)) ?? {};
}
