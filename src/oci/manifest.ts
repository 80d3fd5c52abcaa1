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
