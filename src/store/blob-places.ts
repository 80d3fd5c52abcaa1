import * as v from "valibot";
import type { Digest } from "../oci/digest.ts";
import { record } from "../oci/json-schema.ts";
import { isRepository } from "../oci/reference.ts";
import type { Registry } from "../registry/registry.ts";
import { placesName } from "./file-names.ts";
import { readJsonFile } from "./json-file.ts";
import { writeNote } from "./upload-notes.ts";

// In which repository of a registry a blob was seen lies in one file for the registry, so that a push to another
// repository may mount it. Nothing in it is trusted: the registry says whether it has the blob there.

/** More than the blobs of many images; at some hundred bytes each, the file stays small. */
const MAX_PLACES = 1000;

const PLACES = record(
  v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/)),
  v.pipe(v.string(), v.check(isRepository)),
);

/** The repository of this registry in which a blob was seen last. */
export async function recallRepository(registry: Registry, digest: Digest): Promise<string | undefined> {
  return (await readPlaces(registry))[digest];
}

/** Notes that the registry's own repository has these blobs. */
export async function rememberRepository(registry: Registry, digests: readonly Digest[]): Promise<void> {
  const before = await readPlaces(registry);
  if (digests.every((digest) => before[digest] === registry.repository)) return;
  const here = new Set<string>(digests);
  const places = [
    ...Object.entries(before).filter(([digest]) => !here.has(digest)),
    ...[...here].map((digest) => [digest, registry.repository]),
  ];
  await writeNote(registry, placesName(registry.origin), Object.fromEntries(places.slice(-MAX_PLACES)));
}

/** The last seen at the end. */
async function readPlaces(registry: Registry): Promise<Readonly<Record<string, string>>> {
  const note = await readJsonFile(registry.memory.directory, placesName(registry.origin));
  const saved = v.safeParse(PLACES, note);
  return saved.success ? saved.output : {};
}
