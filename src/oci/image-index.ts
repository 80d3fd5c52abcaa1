import * as v from "valibot";
import { type Digest, digestOf, parseDigest } from "./digest.ts";
import { object, parseJson, record } from "./json-schema.ts";
import type { Manifest } from "./manifest.ts";
import { platformName } from "./platform.ts";

/** One descriptor of an index: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md */
export type IndexEntry = {
  readonly mediaType: string | undefined;
  readonly digest: Digest;
  /** Such as `linux/amd64` or `linux/arm/v7`. Undefined if the index has none. */
  readonly platform: string | undefined;
  /** Whether the entry is BuildKit's provenance or SBOM for another entry, and no image. */
  readonly isAttestation: boolean;
  /** The digest of the entry that an attestation describes. */
  readonly about: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
};

const ABOUT = "vnd.docker.reference.digest";

const ENTRY = object({
  mediaType: v.optional(v.string()),
  digest: v.string(),
  platform: v.nullish(
    object({
      os: v.optional(v.string()),
      architecture: v.optional(v.string()),
      variant: v.optional(v.string()),
    }),
  ),
  annotations: v.nullish(record(v.string(), v.string())),
});
const INDEX = object({ manifests: v.array(ENTRY) });

/** Parses an index or a Docker manifest list. Throws `IMAGE_INVALID`. */
export function parseIndex(bytes: Uint8Array, name: string): IndexEntry[] {
  return parseJson(bytes, INDEX, name).manifests.map(({ mediaType, digest, platform, annotations }) => ({
    mediaType,
    digest: parseDigest(digest, `a digest in ${name}`),
    platform: platformName(platform ?? {}),
    // https://docs.docker.com/build/metadata/attestations/attestation-storage/
    isAttestation:
      platform?.os === "unknown" || annotations?.["vnd.docker.reference.type"] === "attestation-manifest",
    about: annotations?.[ABOUT],
    annotations: annotations ?? {},
  }));
}

/** A manifest that replaces an entry of an index. */
export type Replacement = Omit<Manifest, "mediaType"> & { readonly mediaType: string | undefined };

/**
 * Creates an index with only the kept entries. Keeps all other fields, and updates the digests in attestations.
 *
 * @param kept the manifests by their entries' old digests. A manifest changes if its layers are compressed again
 */
export function keepEntries(
  { mediaType, bytes }: Manifest,
  kept: ReadonlyMap<string, Replacement>,
): Manifest {
  const index = JSON.parse(new TextDecoder().decode(bytes)) as {
    manifests: { digest: string; annotations?: Record<string, string> }[];
  };
  const manifests = index.manifests.flatMap((entry) => {
    const manifest = kept.get(entry.digest);
    if (manifest === undefined) return [];
    const about = kept.get(entry.annotations?.[ABOUT] ?? "");
    return {
      ...entry,
      // `data` holds a copy of the old manifest's bytes.
      ...(manifest.digest !== entry.digest && { data: undefined }),
      ...(manifest.mediaType && { mediaType: manifest.mediaType }),
      digest: manifest.digest,
      size: manifest.bytes.length,
      ...(about && { annotations: { ...entry.annotations, [ABOUT]: about.digest } }),
    };
  });
  const reduced = new TextEncoder().encode(JSON.stringify({ ...index, mediaType, manifests }));
  return { mediaType, digest: digestOf(reduced), bytes: reduced };
}

/** Entries of an index that are not pushed. */
export type LeftOut = { readonly platforms: readonly string[]; readonly attestations: number };

/** Summarizes the entries of an index that are not pushed. Undefined if there are none. */
export function leftOut(others: readonly IndexEntry[]): LeftOut | undefined {
  if (others.length === 0) return undefined;
  const platforms = others.filter(({ isAttestation }) => !isAttestation);
  return {
    platforms: [...new Set(platforms.map(({ platform }) => platform ?? "unknown platform"))],
    attestations: others.length - platforms.length,
  };
}
