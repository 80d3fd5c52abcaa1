import * as v from "valibot";
import { SAVED_PATHS } from "../cache/file-names.ts";
import { readJsonFile, writeJsonFile } from "../cache/json-file.ts";
import { fileError, OTHER_CACHE } from "../file-error.ts";
import type { DiffId } from "../oci/digest.ts";
import { record } from "../oci/json-schema.ts";
import type { LayerCache } from "./layer-cache.ts";

// Engines before 25 name a layer in an archive by an ID, which is the same in every archive as long as the layers below
// are. Noted, it tells the next push which layers to pass over while an image is saved, where nothing else does.

/** As many layers as a hundred images may have. */
const MAX_PATHS = 2000;

const PATHS = record(
  v.pipe(v.string(), v.regex(/^[0-9a-f]{64}\/layer\.tar$/)),
  v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/)),
);

/** Which layers earlier archives had under which names. To be checked: it may be another one now. */
export async function recallSavedPaths(cache: LayerCache): Promise<Map<string, DiffId>> {
  const saved = v.safeParse(PATHS, await readJsonFile(cache.directory, SAVED_PATHS));
  return new Map(Object.entries(saved.success ? saved.output : {}) as [string, DiffId][]);
}

/** Notes the names of layers. Throws `FILE_FAILED`. */
export async function rememberSavedPaths(
  cache: LayerCache,
  paths: ReadonlyMap<string, DiffId>,
): Promise<void> {
  const legacy = [...paths].filter(([path]) => /^[0-9a-f]{64}\/layer\.tar$/.test(path));
  try {
    await writeJsonFile(cache.directory, SAVED_PATHS, Object.fromEntries(legacy.slice(-MAX_PATHS)));
  } catch (cause) {
    throw fileError(cause, `write to the cache folder "${cache.directory}"`, OTHER_CACHE);
  }
}
