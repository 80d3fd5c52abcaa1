import type { Descriptor, RegistryBlob } from "../../oci/descriptor.ts";
import type { OnPiece } from "../http/file-body.ts";

/** Verifies content while it is sent. */
export type UploadGuard = {
  /** Sees every piece before it is sent. Throws `CONTENT_MISMATCH` before the last piece of wrong content. */
  pass(end: number, piece: Uint8Array): ReturnType<OnPiece>;
  /** Verifies what `pass` has not seen. */
  verify(): Promise<void>;
};

/** A blob on its way out. It may still grow. What was there once can be read again until it is committed. */
export type Outgoing = {
  /** Undefined while it is unknown: bytes still come. */
  readonly descriptor?: Descriptor | undefined;
  /** Settles when the last byte is there. */
  readonly end: Promise<Descriptor>;
  /** Set while bytes may still come. */
  readonly grows?: boolean;
  /**
   * Waits until the bytes from `from` to `least` are there, and returns what is there, up to `to`. Returns fewer only at
   * the blob's end.
   *
   * @param least @default `to`
   */
  slice(from: number, to: number, least?: number): Promise<Blob>;
  /** Set while the content is unverified. */
  readonly guard?: UploadGuard | undefined;
};

/** A blob on its way out whose digest is known. */
export type NamedBlob = Outgoing & { readonly descriptor: Descriptor };

/** Makes a complete blob outgoing. */
export function outgoingBlob({ descriptor, content }: RegistryBlob, guard?: UploadGuard): NamedBlob {
  return {
    descriptor,
    end: Promise.resolve(descriptor),
    slice: async (from, to) => content.slice(from, Math.min(to, descriptor.size)),
    guard,
  };
}
