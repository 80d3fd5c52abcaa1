import { fileError, OTHER_CACHE, PushError } from "../../errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { StreamedBytes } from "../../oci/image.ts";
import { growingFile } from "./growing-file.ts";
import type { NamedBlob } from "./outgoing.ts";

/** A blob that streams into a temporary file. Disposal removes the file. */
export type StreamedBlob = NamedBlob &
  AsyncDisposable & {
    /** Aborted with the error if the stream breaks. The upload can then be resumed. */
    readonly lost: AbortSignal;
  };

/**
 * Opens a blob that can be sent while it streams in. Reading begins on demand. If the digest is wrong, the blob fails with
 * `CONTENT_MISMATCH` before its last bytes are available. Throws `FILE_FAILED`.
 *
 * @param directory the folder of the file
 */
export async function streamedBlob(
  { descriptor, content }: { readonly descriptor: Descriptor; readonly content: StreamedBytes },
  directory: string,
  signal: AbortSignal,
): Promise<StreamedBlob> {
  const { digest, size } = descriptor;
  const file = await growingFile(directory, "stream", (cause) =>
    fileError(cause, `write to the cache folder "${directory}"`, OTHER_CACHE),
  );
  file.declare(descriptor);
  const lost = new AbortController();
  const unwanted = new AbortController();
  let filled: Promise<unknown> | undefined;

  async function fill(): Promise<void> {
    for await (const piece of content.read(AbortSignal.any([signal, unwanted.signal]))) {
      file.append(piece);
      // An endless stream must not fill the disk.
      if (file.sizeBytes > size) break;
    }
    await file.finish(digest, "The source named a blob");
  }

  const begin = () => {
    filled ??= fill().catch((error: unknown) => {
      file.fail(error as Error);
      // An upload with wrong bytes must not be resumed.
      if (!(error instanceof PushError && error.code === "CONTENT_MISMATCH")) lost.abort(error);
    });
  };
  return {
    descriptor,
    lost: lost.signal,
    get end() {
      begin();
      return file.end;
    },
    get grows() {
      return file.grows;
    },
    slice(...range) {
      begin();
      return file.slice(...range);
    },
    async [Symbol.asyncDispose]() {
      unwanted.abort(new PushError("INTERRUPTED", "The blob is not wanted any more."));
      await filled;
      await file[Symbol.asyncDispose]();
    },
  };
}
