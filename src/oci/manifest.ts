import * as v from "valibot";
import { type Descriptor, MEDIA_TYPE } from "./descriptor.ts";
import { type Digest, digestOf, parseDigest } from "./digest.ts";
import { object, parseJson } from "./json-schema.ts";

/** A manifest as it is published, byte for byte. */
export type Manifest = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

/** A source's own manifest, with the blobs that it references. */
export type SourceManifest = Manifest & { readonly config: Content; readonly layers: readonly Content[] };

type Content = Pick<Descriptor, "digest" | "size">;

/**
 * Chooses the manifest to publish. Returns the source's own, byte for byte, if all its blobs were pushed unchanged, so
 * that its digest, annotations and signatures stay valid. Otherwise creates a new one.
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

function isSameContent(a: Content | undefined, b: Content): boolean {
  return a?.digest === b.digest && a.size === b.size;
}

/**
 * Creates an image manifest. Layers are ordered base first.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 */
export function imageManifest(config: Descriptor, layers: readonly Descriptor[]): Manifest {
  const bytes = new TextEncoder().encode(
    // The spec only recommends mediaType, but serverless-registry rejects a manifest without it.
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.manifest, config, layers }),
  );
  return { mediaType: MEDIA_TYPE.manifest, digest: digestOf(bytes), bytes };
}

/** A manifest's descriptor of a config or layer. A size of -1 stands for a missing one and equals no real size. */
export type ManifestEntry = Content & { readonly mediaType: string | undefined };

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

/** Parses an OCI or Docker image manifest. Throws `IMAGE_INVALID` and `DIGEST_INVALID`. */
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
