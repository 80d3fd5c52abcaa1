import * as v from "valibot";
import { type Digest, parseDigest } from "./digest.ts";
import { object, parseJson, record } from "./json-schema.ts";

/** One descriptor of an index: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md */
export type IndexEntry = {
  readonly mediaType: string | undefined;
  readonly digest: Digest;
  /** Such as `linux/amd64` or `linux/arm/v7`. Undefined if the index has none. */
  readonly platform: string | undefined;
  /** BuildKit's provenance or SBOM for another entry: no image. */
  readonly isAttestation: boolean;
  readonly annotations: Readonly<Record<string, string>>;
};

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

/** Parses an index or a Docker manifest list. Throws `IMAGE_INVALID` and `DIGEST_INVALID`. */
export function parseIndex(bytes: Uint8Array, name: string): IndexEntry[] {
  return parseJson(bytes, INDEX, name).manifests.map(({ mediaType, digest, platform, annotations }) => ({
    mediaType,
    digest: parseDigest(digest, `a digest in ${name}`),
    platform: platformName(platform ?? {}),
    // https://docs.docker.com/build/metadata/attestations/attestation-storage/
    isAttestation:
      platform?.os === "unknown" || annotations?.["vnd.docker.reference.type"] === "attestation-manifest",
    annotations: annotations ?? {},
  }));
}

type Platform = Partial<Record<"os" | "architecture" | "variant", string | null | undefined>>;

/** Formats a platform, such as `linux/arm/v7`. Undefined if all fields are missing. */
export function platformName({ os, architecture, variant }: Platform): string | undefined {
  return [os, architecture, variant].filter(Boolean).join("/") || undefined;
}

/** Entries of an index other than the pushed image. */
export type LeftOut = { readonly platforms: readonly string[]; readonly attestations: number };

/** Summarizes the entries other than the pushed one. Undefined if there are none. */
export function leftOut(entries: readonly IndexEntry[], pushed: Digest): LeftOut | undefined {
  const others = entries.filter(({ digest }) => digest !== pushed);
  if (others.length === 0) return undefined;
  const platforms = others.filter(({ isAttestation }) => !isAttestation);
  return {
    platforms: [...new Set(platforms.map(({ platform }) => platform ?? "unknown platform"))],
    attestations: others.length - platforms.length,
  };
}
