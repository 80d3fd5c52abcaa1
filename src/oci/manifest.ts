import type { Descriptor } from "./descriptor.ts";
import { MEDIA_TYPE } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { digestOf } from "./digest.ts";

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
