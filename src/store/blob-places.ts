import * as v from "valibot";
import type { Digest } from "../oci/digest.ts";
import { record } from "../oci/json-schema.ts";
import { isRepository } from "../oci/reference.ts";
import { placesName } from "./file-names.ts";
import { type NoteFolder, readNote, writeNote } from "./notes.ts";

// One file per registry notes in which repository each blob was seen, so that a push to another repository can mount
// it. It is not trusted: the registry says whether it has the blob there.

/** More than the blobs of many images. At some hundred bytes each, the file stays small. */
const MAX_PLACES = 1000;

const PLACES = record(
  v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/)),
  v.pipe(v.string(), v.check(isRepository)),
);

/** Returns the repository of a registry in which a blob was seen last. */
export async function recallRepository(
  notes: NoteFolder,
  origin: string,
  digest: Digest,
): Promise<string | undefined> {
  return (await readPlaces(notes, origin))[digest];
}

/** Notes that a repository of a registry has these blobs. */
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

/** Reads all places, the last seen at the end. */
async function readPlaces(notes: NoteFolder, origin: string): Promise<Readonly<Record<string, string>>> {
  return (await readNote(notes, placesName(origin), PLACES)) ?? {};
}
