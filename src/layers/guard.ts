import { fileError } from "../errors.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { digestHasher } from "../oci/digest.ts";
import { damagedLayer } from "./damaged-layer.ts";
import { hashBlob } from "./hash.ts";

/** Checks content that nobody has checked yet by reading along while it is sent. */
export type BlobGuard = {
  /**
   * Is shown every piece before it goes up. Pieces may come again, or begin anywhere. Throws at the end of content
   * that is not what its digest says: nobody gets the whole of it.
   *
   * @param end where the piece ends in the content
   */
  pass(end: number, piece: Uint8Array): void | Promise<void>;
  /** Reads what did not come by, and throws in the same case. */
  verify(): Promise<void>;
};

/** A guard over a layer that may be damaged where it lies. It throws `CONTENT_MISMATCH` and `FILE_FAILED`. */
export function guardBlob(
  { descriptor: { digest, size }, content }: RegistryBlob,
  name: string,
  signal: AbortSignal,
): BlobGuard {
  const hasher = digestHasher();
  let hashedBytes = 0;
  let verdict: Promise<void> | undefined;

  async function judge(): Promise<void> {
    const rest = content.slice(hashedBytes);
    const found = await hashBlob(rest, signal, undefined, hasher).catch((cause: unknown) => {
      throw fileError(cause, `read the layer "${name}"`);
    });
    if (found !== digest) throw damagedLayer(name, digest, found);
  }

  const verify = () => {
    verdict ??= judge();
    return verdict;
  };

  return {
    verify,
    pass(end, piece) {
      const start = end - piece.length;
      // Not before the first piece that is missing, and no byte twice.
      if (verdict === undefined && start <= hashedBytes && end > hashedBytes) {
        hasher.update(piece.subarray(hashedBytes - start));
        hashedBytes = end;
      }
      return end >= size ? verify() : undefined;
    },
  };
}
