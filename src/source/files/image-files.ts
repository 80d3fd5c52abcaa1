import { fileError, PushError } from "../../errors.ts";
import { blobPath, type Digest, digestOf } from "../../oci/digest.ts";
import type { StoredBytes } from "../../oci/image.ts";
import { MAX_JSON_BYTES } from "../../oci/json-schema.ts";

/** The files of a saved image, which are read in place in an archive or a folder. */
export type ImageFiles = {
  /** For messages: `archive "output.tar"`. */
  readonly title: string;
  /**
   * Opens a file; undefined if it does not exist. Follows links inside the image only. Throws `ARCHIVE_INVALID` for
   * other links and for anything but a regular file, and `FILE_FAILED`.
   */
  open(path: string): Promise<Blob | undefined>;
  /** Opens a layer that can only be read from its start. @default `open` */
  openLayer?(path: string): Promise<StoredBytes | undefined>;
};

/** Creates the error for content that does not match the digest in its name. */
export function misnamed(what: string, hint = "The image is damaged: save it again."): PushError {
  const problem = `Cannot push: the content of ${what} does not match the digest in its name.`;
  return new PushError("CONTENT_MISMATCH", problem, { hint });
}

/** Reads a small file of an image. Throws `IMAGE_INCOMPLETE`, `IMAGE_INVALID` if it is too large, and `FILE_FAILED`. */
export async function readDocument(files: ImageFiles, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const content = await files.open(path);
  if (content === undefined)
    throw new PushError("IMAGE_INCOMPLETE", `Cannot read the ${files.title}: "${path}" is missing.`, {
      hint: "Save the image again.",
    });
  if (content.size > MAX_JSON_BYTES) {
    throw new PushError(
      "IMAGE_INVALID",
      `Cannot read the ${files.title}: "${path}" has ${content.size} bytes. At most ${MAX_JSON_BYTES} are allowed.`,
    );
  }
  return content.bytes().catch((cause: unknown) => {
    throw fileError(cause, `read "${path}" in the ${files.title}`);
  });
}

/** Reads a document by its digest, and verifies it. Throws `CONTENT_MISMATCH`, and what `readDocument` throws. */
export async function readBlob(files: ImageFiles, digest: Digest): Promise<Uint8Array<ArrayBuffer>> {
  const path = blobPath(digest);
  const bytes = await readDocument(files, path);
  if (digestOf(bytes) === digest) return bytes;
  throw misnamed(`"${path}" in the ${files.title}`);
}
