import * as v from "valibot";
import { type DiffId, digestOf, hexOf } from "../../oci/digest.ts";
import { parseJson } from "../../oci/json.ts";
import { looseObject } from "../../oci/json-schema.ts";

const LAYER = looseObject({
  id: v.optional(v.string()),
  parent: v.optional(v.string()),
  os: v.optional(v.string()),
});

/**
 * Tells which layer an engine up to 24 means by an ID, before it comes: the ID is the digest of the document beside the
 * layer, put together with what the layer is and lies on. Undefined where none of them gives that ID.
 *
 * https://github.com/moby/moby/blob/v24.0.9/image/v1/imagev1.go, CreateID. Throws `IMAGE_INVALID`.
 *
 * @param chainIds of the image's layers, base first
 */
export function legacyPlace(
  id: string,
  bytes: Uint8Array,
  chainIds: readonly string[],
  title: string,
): number | undefined {
  const { id: _, parent, os, ...document } = parseJson(bytes, LAYER, title);
  const below = parent === undefined ? {} : { parent: `sha256:${parent}` };
  // The top layer's has the system in it, that of the others not.
  const place = chainIds.findIndex((chainId) =>
    [{}, { os }].some((system) => idOf({ ...document, ...below, ...system, layer_id: chainId }) === id),
  );
  return place < 0 ? undefined : place;
}

/** What each layer and all below it are together: https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-chainid */
export function chainIdsOf(diffIds: readonly DiffId[]): string[] {
  const chainIds: string[] = [];
  for (const diffId of diffIds) {
    const below = chainIds.at(-1);
    chainIds.push(below === undefined ? diffId : digestOf(new TextEncoder().encode(`${below} ${diffId}`)));
  }
  return chainIds;
}

/** As Go writes it: names in order, and nothing in strings that HTML would take for its own. */
function idOf(document: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(document).sort();
  const text = JSON.stringify(Object.fromEntries(names.map((name) => [name, document[name]]))).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return hexOf(digestOf(new TextEncoder().encode(text)));
}
