import { fileError, OTHER_CACHE, PushError } from "../../errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { StreamedBytes } from "../../oci/image.ts";
import { growingFile } from "./growing-file.ts";
import type { NamedBlob } from "./outgoing.ts";

/** A blob whose bytes come as a stream, into a file that disposal removes. */
export type StreamedBlob = NamedBlob &
  AsyncDisposable & {
    /** Aborted with the failure where the stream breaks. An upload that has some of the bytes can be resumed. */
    readonly lost: AbortSignal;
  };

/**
 * Sends a blob while its bytes come, which begin to when they are first wanted. Other bytes than those of its digest fail it
 * with `CONTENT_MISMATCH`, and the last ones are never given out then. Throws `FILE_FAILED`.
 *
 * @param directory where the file is
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
      // Without an end, it would fill the disk.
      if (file.sizeBytes > size) break;
    }
    await file.finish(digest, "The source named a blob");
  }

  const begin = () => {
    filled ??= fill().catch((error: unknown) => {
      file.fail(error as Error);
      // An upload that has wrong bytes must not be resumed.
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
