import { type CompressionForm, DEFAULT_COMPRESSION } from "../oci/compression.ts";
import { type DiffId, type Digest, digestOf, hexOf } from "../oci/digest.ts";

/** What a file in the cache's folder is, by its name. All else there is not ours, and nobody touches it. */
export type CacheFileKind =
  | "blob"
  | "pointer"
  | "image"
  | "upload"
  | "places"
  | "limit"
  | "lock"
  | "temporary";

const UPLOAD = /^([0-9a-f]{64})-upload-[0-9a-f]{16}$/;

const PATTERNS: readonly (readonly [CacheFileKind, RegExp])[] = [
  ["blob", /^[0-9a-f]{64}$/],
  ["pointer", /^[0-9a-f]{64}(?:-(?:gzip|zstd)-\d{1,2})?-ptr$/],
  ["image", /^[0-9a-f]{64}-image$/],
  ["upload", UPLOAD],
  ["places", /^places-[0-9a-f]{16}$/],
  ["limit", /^limit-[0-9a-f]{16}$/],
  ["lock", /^(?:cache|[0-9a-f]{64}(?:(?:-(?:gzip|zstd)-\d{1,2})?-ptr|-image|-upload-[0-9a-f]{16}))\.lock$/],
  ["temporary", /^[a-z]+-\w+-\d+-[0-9a-f-]{36}\.tmp$/],
];

/** Tells what a file is. Undefined: it is not ours. */
export function kindOfCacheFile(name: string): CacheFileKind | undefined {
  return PATTERNS.find(([, pattern]) => pattern.test(name))?.[0];
}

/** A compressed layer. */
export function blobName(digest: Digest): string {
  return hexOf(digest);
}

/**
 * What finds a compressed layer by the digest of the raw one: `<diffid>-ptr` for the form that is made unless somebody
 * asks for another, which older caches have as well, and `<diffid>-zstd-2-ptr` and the like for all others.
 */
export function pointerName(diffId: DiffId, { kind, level }: CompressionForm): string {
  const isUsual = kind === DEFAULT_COMPRESSION.kind && level === DEFAULT_COMPRESSION.level;
  return isUsual ? `${hexOf(diffId)}-ptr` : `${hexOf(diffId)}-${kind}-${level}-ptr`;
}

/** The lock of whoever has an engine save this image. */
export function saveName(imageId: Digest): string {
  return `${hexOf(imageId)}-image`;
}

/** Where the upload of a blob to a repository stands. It is the name of the lock, too, that its sender has. */
export function uploadName(registry: { origin: string; repository: string }, digest: Digest): string {
  return `${hexOf(digest)}-upload-${shortName(`${registry.origin}/${registry.repository}`)}`;
}

/** In which repositories of a registry blobs were seen. */
export function placesName(origin: string): string {
  return `places-${shortName(origin)}`;
}

/** Which bodies a registry takes. */
export function limitName(origin: string): string {
  return `limit-${shortName(origin)}`;
}

/** The hex digest of the blob that an upload's note is about. */
export function blobOfUpload(name: string): string | undefined {
  return UPLOAD.exec(name)?.[1];
}

/** A file name that stands for any text. */
function shortName(text: string): string {
  return hexOf(digestOf(new TextEncoder().encode(text))).slice(0, 16);
}
