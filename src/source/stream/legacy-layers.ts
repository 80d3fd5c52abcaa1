import * as v from "valibot";
import { digestOf, hexOf } from "../../oci/digest.ts";
import { looseObject, parseJson } from "../../oci/json-schema.ts";

const LAYER = looseObject({
  id: v.optional(v.string()),
  parent: v.optional(v.string()),
  os: v.optional(v.string()),
});

/** https://github.com/moby/moby/blob/v24.0.9/layer/layer_store.go, maxLayerDepth */
export const MAX_LEGACY_LAYERS = 125;

/**
 * Finds the index of the layer that Docker up to 24 saves under an ID, before the layer itself arrives. The ID is the
 * digest of the layer's JSON document with its parent's ID and its chain ID. Undefined if no layer has this ID.
 *
 * https://github.com/moby/moby/blob/v24.0.9/image/v1/imagev1.go, CreateID. Throws `IMAGE_INVALID`.
 *
 * @param chainIds the chain IDs of the image's layers, base first
 */
export function legacyPlace(
  id: string,
  bytes: Uint8Array,
  chainIds: readonly string[],
  title: string,
): number | undefined {
  const { id: _, parent, os, ...document } = parseJson(bytes, LAYER, title);
  // Once is enough: with many layers, hundreds of failures in a row would take minutes.
  if (stringify(document) === undefined) return undefined;
  const below = parent === undefined ? {} : { parent: `sha256:${parent}` };
  // Only the top layer's digest includes `os`.
  const place = chainIds.findIndex((chainId) =>
    [{}, { os }].some((system) => idOf({ ...document, ...below, ...system, layer_id: chainId }) === id),
  );
  return place < 0 ? undefined : place;
}

/**
 * Hashes a document as Go serializes it: with sorted names, and with HTML's special characters escaped. Undefined if it
 * is nested deeper than any engine writes.
 */
function idOf(document: Readonly<Record<string, unknown>>): string | undefined {
  const names = Object.keys(document).sort();
  const sorted = Object.fromEntries(names.map((name) => [name, document[name]]));
  const text = stringify(sorted)?.replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return text && hexOf(digestOf(text));
}

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
