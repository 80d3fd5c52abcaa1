import { type CompressionForm, DEFAULT_COMPRESSION } from "../oci/compression.ts";
import { type DiffId, type Digest, digestOf, hexOf } from "../oci/digest.ts";

const UPLOAD = /^([0-9a-f]{64})-upload-[0-9a-f]{16}$/;

/** The names of the cache's files, by kind. A blob, which is a layer or an image document, has its hex digest as name. */
const PATTERNS = {
  blob: /^[0-9a-f]{64}$/,
  pointer: /^[0-9a-f]{64}(?:-(?:gzip|zstd)-\d{1,2})?-ptr$/,
  /** Older versions wrote these pointers. Only pruning removes them. */
  image: /^[0-9a-f]{64}-image$/,
  upload: UPLOAD,
  places: /^places-[0-9a-f]{16}$/,
  limit: /^limit-[0-9a-f]{16}$/,
  lock: /^(?:cache|[0-9a-f]{64}(?:(?:-(?:gzip|zstd)-\d{1,2})?-ptr|-image|-upload-[0-9a-f]{16}))\.lock$/,
  temporary: /^[a-z]+-\w+-\d+-[0-9a-f-]{36}\.tmp$/,
};

/** The kind of a cache file, by its name. */
export type CacheFileKind = keyof typeof PATTERNS;

/** Returns a file's kind, or undefined for a file that the cache did not write. */
export function kindOfCacheFile(name: string): CacheFileKind | undefined {
  const kinds = Object.keys(PATTERNS) as CacheFileKind[];
  return kinds.find((kind) => PATTERNS[kind].test(name));
}

/**
 * Names the pointer from a diffID to a compressed layer: `<diffid>-ptr` for the default form, as in older caches, and
 * `<diffid>-<kind>-<level>-ptr` for others, such as `<diffid>-zstd-2-ptr`.
 */
export function pointerName(diffId: DiffId, { kind, level }: CompressionForm): string {
  const isUsual = kind === DEFAULT_COMPRESSION.kind && level === DEFAULT_COMPRESSION.level;
  return isUsual ? `${hexOf(diffId)}-ptr` : `${hexOf(diffId)}-${kind}-${level}-ptr`;
}

/** Names the lock on saving an engine's image. It equals the name of an `image` pointer of older versions. */
export function saveName(imageId: Digest): string {
  return `${hexOf(imageId)}-image`;
}

/** Names the saved offset of a blob's upload to a repository, and the lock on that upload. */
export function uploadName(upload: { origin: string; repository: string; digest: Digest }): string {
  const { origin, repository, digest } = upload;
  return `${hexOf(digest)}-upload-${shortName(`${origin}/${repository}`)}`;
}

/** Names the file that lists in which repositories of a registry blobs were seen. */
export function placesName(origin: string): string {
  return `places-${shortName(origin)}`;
}

/** Names the file with a registry's body limit and upload rate. */
export function limitName(origin: string): string {
  return `limit-${shortName(origin)}`;
}

/** Returns the hex digest in the name of an upload's saved offset. */
export function blobOfUpload(name: string): string | undefined {
  return UPLOAD.exec(name)?.[1];
}

/** Hashes text into 16 characters that are valid in a file name. */
function shortName(text: string): string {
  return hexOf(digestOf(text)).slice(0, 16);
}
