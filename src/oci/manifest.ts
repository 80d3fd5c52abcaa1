import * as v from "valibot";
import type { Descriptor } from "./descriptor.ts";
import { MEDIA_TYPE } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { digestOf, parseDigest } from "./digest.ts";
import { parseJson } from "./json.ts";
import { object } from "./json-schema.ts";

/** A manifest as it is sent: its bytes are its identity. */
export type Manifest = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

/** A manifest that an image came with, and what it names. */
export type SourceManifest = Manifest & {
  readonly config: Pick<Descriptor, "digest" | "size">;
  readonly layers: readonly Pick<Descriptor, "digest" | "size">[];
};

/**
 * The manifest to publish: the one that the image came with, byte for byte, where all that it names went up
 * unchanged, so that its digest, annotations and signatures stay valid; else a new one.
 */
export function manifestFor(
  source: SourceManifest | undefined,
  config: Descriptor,
  layers: readonly Descriptor[],
): Manifest {
  const isUnchanged =
    source !== undefined &&
    source.layers.length === layers.length &&
    isSameContent(source.config, config) &&
    layers.every((layer, i) => isSameContent(source.layers[i], layer));
  return isUnchanged ? source : imageManifest(config, layers);
}

function isSameContent(a: Pick<Descriptor, "digest" | "size"> | undefined, b: Descriptor): boolean {
  return a?.digest === b.digest && a.size === b.size;
}

/**
 * Writes the manifest of an image, layers base first.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 */
export function imageManifest(config: Descriptor, layers: readonly Descriptor[]): Manifest {
  const bytes = new TextEncoder().encode(
    // serverless-registry refuses a manifest without mediaType, which the spec only recommends.
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers }),
  );
  return { mediaType: MEDIA_TYPE.manifest, digest: digestOf(bytes), bytes };
}

/** What a manifest says of a config or a layer. A size of -1 is missing, and equals no real one. */
export type ManifestEntry = {
  readonly mediaType: string | undefined;
  readonly digest: Digest;
  readonly size: number;
};

const ENTRY = object({
  mediaType: v.optional(v.string()),
  digest: v.string(),
  size: v.optional(v.pipe(v.number(), v.finite("it is too large"))),
});
const MANIFEST = object({
  mediaType: v.optional(v.string()),
  config: ENTRY,
  layers: v.nullish(v.array(ENTRY)),
});

/** Reads an image manifest, OCI's or Docker's. Throws `IMAGE_INVALID` and `DIGEST_INVALID`. */
export function parseManifest(bytes: Uint8Array, name: string) {
  const { mediaType, config, layers } = parseJson(bytes, MANIFEST, name);
  const entry = ({ mediaType, digest, size = -1 }: v.InferOutput<typeof ENTRY>, field: string) => ({
    mediaType,
    digest: parseDigest(digest, `${field} of ${name}`),
    size,
  });
  return {
    mediaType,
    config: entry(config, "config.digest"),
    layers: (layers ?? []).map((layer, i): ManifestEntry => entry(layer, `layers.${i}.digest`)),
  };
}
