/** Bytes that look random, and are the same for a seed on every machine: mulberry32. They hardly compress. */
export function seededBytes(length: number, seed: number | string): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (typeof seed === "number" ? seed : Bun.hash.crc32(seed)) >>> 0;
  for (let i = 0; i < words.length; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    words[i] = mixed ^ (mixed >>> 14);
  }
  return new Uint8Array(words.buffer, 0, length);
}
