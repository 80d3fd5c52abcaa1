import { fileError } from "../errors.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { digestHasher } from "../oci/digest.ts";
import { damagedLayer, hashBlob } from "./hash.ts";

/** Verifies a blob while it is sent. */
export type BlobGuard = {
  /**
   * Hashes a piece before it is sent. Pieces may repeat or leave gaps. At the last piece, hashes the rest and throws if
   * the digest is wrong, so that a damaged blob is never sent completely.
   *
   * @param end the offset of the piece's end in the content
   */
  pass(end: number, piece: Uint8Array): void | Promise<void>;
  /** Hashes what `pass` has not seen. Throws if the digest is wrong. */
  verify(): Promise<void>;
};

/** Guards an unverified layer. The guard throws `CONTENT_MISMATCH` and `FILE_FAILED`. */
export function guardBlob(
  { descriptor: { digest, size }, content }: RegistryBlob,
  name: string,
  signal: AbortSignal,
): BlobGuard {
  const hasher = digestHasher();
  let hashedBytes = 0;
  let verification: Promise<void> | undefined;

  async function hashRest(): Promise<void> {
    const rest = content.slice(hashedBytes);
    // The last chunk of a stopped push may end, unless there is more to read for it.
    const hashing = hashedBytes === size ? hasher.digest() : hashBlob(rest, signal, undefined, hasher);
    const found = await Promise.resolve(hashing).catch((cause: unknown) => {
      throw fileError(cause, `read the layer "${name}"`);
    });
    if (found !== digest) throw damagedLayer(name, digest, found);
  }

  const verify = () => {
    verification ??= hashRest();
    return verification;
  };

  return {
    verify,
    pass(end, piece) {
      const start = end - piece.length;
      // Hash bytes in order, each once. A piece after a gap waits for `verify`.
      if (verification === undefined && start <= hashedBytes && end > hashedBytes) {
        hasher.update(piece.subarray(hashedBytes - start));
        hashedBytes = end;
      }
      return end >= size ? verify() : undefined;
    },
  };
}
