/** Numbers that look random, and are the same for the same seed on every machine. */
export type Random = {
  /** A whole number from 0 up to 2³². */
  next(): number;
  /** From 0 up to 1. */
  fraction(): number;
  /** A whole number from 0 up to `limit`. */
  below(limit: number): number;
};

/** sfc32 by Chris Doty-Humphrey, which is in the public domain: fast, and passes PractRand. */
export function seededRandom(seed: string): Random {
  const state = new Uint32Array(new Bun.CryptoHasher("sha256").update(seed).digest().buffer.slice(0, 16));
  let [a = 0, b = 0, c = 0, d = 0] = state;
  const next = () => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  const fraction = () => next() / 2 ** 32;
  return { next, fraction, below: (limit) => Math.floor(fraction() * limit) };
}
