import { createCipheriv, createHash } from "node:crypto";

/** Bytes that nothing compresses, and that are the same for the same seed on every machine. */
export function seededBytes(length: number, seed: number | string): Uint8Array<ArrayBuffer> {
  const key = createHash("sha256").update(`${seed}`).digest();
  return new Uint8Array(createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length)));
}
