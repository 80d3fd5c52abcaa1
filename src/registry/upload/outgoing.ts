import type { Descriptor, RegistryBlob } from "../../oci/descriptor.ts";
import type { OnPiece } from "../http/file-body.ts";

/** Verifies content while it is sent. */
export type UploadGuard = {
  /** Hashes a piece before it is sent. Throws `CONTENT_MISMATCH` before the last piece of wrong content. */
  pass(end: number, piece: Uint8Array): ReturnType<OnPiece>;
  /** Verifies the content that `pass` has not seen. */
  verify(): Promise<void>;
};

/** A blob to upload, which may still grow. Its bytes can be read again until the registry has the blob. */
export type Outgoing = {
  /** Undefined while the blob grows and its digest is unknown. */
  readonly descriptor?: Descriptor | undefined;
  /** Resolves when the blob is complete. */
  readonly end: Promise<Descriptor>;
  /** Set while the blob grows. */
  readonly grows?: boolean;
  /**
   * Waits for the bytes from `from` to `least`, and returns all bytes up to `to` that are available then. Returns fewer only
   * at the blob's end.
   *
   * @param least @default `to`
   */
  slice(from: number, to: number, least?: number): Promise<Blob>;
  /** Set while the content is unverified. */
  readonly guard?: UploadGuard | undefined;
};

/** A blob to upload whose digest is known. */
export type NamedBlob = Outgoing & { readonly descriptor: Descriptor };

/** Wraps a complete blob. */
export function outgoingBlob({ descriptor, content }: RegistryBlob, guard?: UploadGuard): NamedBlob {
  return {
    descriptor,
    end: Promise.resolve(descriptor),
    slice: async (from, to) => content.slice(from, Math.min(to, descriptor.size)),
    guard,
  };
}
