import { PushError } from "../errors.ts";

declare const brand: unique symbol;

/** The sha256 of a blob as it is stored and sent, `sha256:<64 hex>`. */
export type Digest = `sha256:${string}` & { readonly [brand]: "Digest" };

/** The sha256 of a layer's *uncompressed* tar, as the config's `rootfs.diff_ids` lists it. */
export type DiffId = `sha256:${string}` & { readonly [brand]: "DiffId" };

// https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
const SHA256 = /^sha256:[0-9a-f]{64}$/;

/** Parses what claims to be a digest. Throws `DIGEST_INVALID`; `where` says which document it came from. */
export function parseDigest(text: string, where: string): Digest {
  assertSha256(text, where);
  return text as Digest;
}

/** Parses what claims to be a diffID. Throws `DIGEST_INVALID`; `where` says which document it came from. */
export function parseDiffId(text: string, where: string): DiffId {
  assertSha256(text, where);
  return text as DiffId;
}

function assertSha256(text: string, where: string): void {
  if (SHA256.test(text)) return;
  throw new PushError(
    "DIGEST_INVALID",
    `Cannot read ${where}: "${text.slice(0, 100)}" is not a sha256 digest.`,
  );
}

/** The 64 hex digits: the part that is a valid file name on every system. */
export function hexOf(digest: Digest | DiffId): string {
  return digest.slice("sha256:".length);
}

/** Twelve digits, as Docker prints them: enough for a person. */
export function shortDigest(digest: Digest | DiffId): string {
  return `sha256:${hexOf(digest).slice(0, 12)}`;
}

/** Computes a digest piece by piece. */
export type DigestHasher = {
  update(bytes: Uint8Array): void;
  /** Ends the hash. May be called once. */
  digest(): Digest;
};

/** Starts a sha256 over bytes that come in pieces. */
export function digestHasher(): DigestHasher {
  const hasher = new Bun.CryptoHasher("sha256");
  return {
    update: (bytes) => void hasher.update(bytes),
    digest: () => `sha256:${hasher.digest("hex")}` as Digest,
  };
}

/** The digest of bytes that are in memory. */
export function digestOf(bytes: Uint8Array): Digest {
  const hasher = digestHasher();
  hasher.update(bytes);
  return hasher.digest();
}

/** True where a layer's raw bytes, having this digest, are the layer that `diffId` names. */
export function isDiffId(digest: Digest, diffId: DiffId): boolean {
  return (digest as string) === (diffId as string);
}
