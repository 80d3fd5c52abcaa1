import { PushError } from "../errors.ts";

declare const brand: unique symbol;

/** The sha256 of a blob as it is stored and sent: `sha256:<64 hex>`. */
export type Digest = `sha256:${string}` & { readonly [brand]: "Digest" };

/** The sha256 of a layer's *uncompressed* tar. The config lists it in `rootfs.diff_ids`. */
export type DiffId = `sha256:${string}` & { readonly [brand]: "DiffId" };

// https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
const SHA256 = /^sha256:[0-9a-f]{64}$/;

/** Tells whether text is a sha256 digest. */
export function isDigest(text: string): text is Digest {
  return SHA256.test(text);
}

/** Parses a digest. Throws `IMAGE_INVALID`; `where` names the source in its message. */
export function parseDigest(text: string, where: string): Digest {
  if (isDigest(text)) return text;
  throw new PushError(
    "IMAGE_INVALID",
    `Cannot read ${where}: "${text.slice(0, 100)}" is not a sha256 digest.`,
  );
}

/** Parses a diffID. Throws `IMAGE_INVALID`; `where` names the source in its message. */
export function parseDiffId(text: string, where: string): DiffId {
  return asDiffId(parseDigest(text, where));
}

/** Returns the diffID of the layer whose raw bytes have this digest. */
export function asDiffId(rawDigest: Digest): DiffId {
  return rawDigest as string as DiffId;
}

/** Returns the 64 hex digits, which are a valid file name on every system. */
export function hexOf(digest: Digest | DiffId): string {
  return digest.slice("sha256:".length);
}

/** Returns a blob's path in an OCI layout. Docker 25 and later use it in their archives as well. */
export function blobPath(digest: Digest | DiffId): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** Returns the digest in a blob's path. Undefined for paths of other files. */
export function digestInPath(path: string): Digest | undefined {
  const [, hex] = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path) ?? [];
  return hex === undefined ? undefined : (`sha256:${hex}` as Digest);
}

/** Shortens a digest to twelve hex digits, as Docker prints it. */
export function shortDigest(digest: Digest | DiffId): string {
  return `sha256:${hexOf(digest).slice(0, 12)}`;
}

/** Computes a digest piece by piece. `digest` ends the hash, and is callable once. */
export function digestHasher() {
  const hasher = new Bun.CryptoHasher("sha256");
  return {
    update: (bytes: Uint8Array) => void hasher.update(bytes),
    digest: () => `sha256:${hasher.digest("hex")}` as Digest,
  };
}

/** Computes the digest of bytes in memory, or of text in UTF-8. */
export function digestOf(content: Uint8Array | string): Digest {
  return `sha256:${Bun.CryptoHasher.hash("sha256", content, "hex")}` as Digest;
}

/** Computes the layers' chain IDs: https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-chainid */
export function chainIdsOf(diffIds: readonly DiffId[]): (Digest | DiffId)[] {
  const chainIds: (Digest | DiffId)[] = [];
  for (const diffId of diffIds) {
    const below = chainIds.at(-1);
    chainIds.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chainIds;
}
