/** `sha256:` and 64 lower-case hex digits: the one algorithm that R2 checks for the registry. */
export type Digest = `sha256:${string}`;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(value: string): value is Digest {
  return DIGEST.test(value);
}

export function digestOf(content: string | Uint8Array): Digest {
  return `sha256:${new Bun.CryptoHasher("sha256").update(content).digest("hex")}`;
}
