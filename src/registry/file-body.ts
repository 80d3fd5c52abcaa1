import { PushError } from "../errors.ts";
import { fileError } from "../file-error.ts";

/** Small enough that progress moves and memory stays flat, large enough to be rare. */
const READ_BYTES = 256 * 1024;

/**
 * Reads content as a request body, once; another attempt makes another body.
 *
 * Bun sends a `Blob` of a file by reading it whole into memory over TLS, and a stream without holding more than a
 * piece of it. The stream ends together with its last piece: a server may answer as soon as it has all bytes, and
 * Bun keeps a connection only where the body had ended before the answer came.
 *
 * @param onProgress told after each piece how many bytes were handed over
 */
export function fileBody(content: Blob, onProgress: (sentBytes: number) => void): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = await read(content.slice(offset, offset + READ_BYTES));
      offset += piece.length;
      if (piece.length === 0 && content.size > 0) {
        controller.error(
          new PushError("CONTENT_MISMATCH", "Cannot send a blob: its file became shorter while it was read."),
        );
        return;
      }
      controller.enqueue(piece);
      if (offset >= content.size) controller.close();
      onProgress(offset);
    },
  });
}

/** What goes wrong with a file is not the network's fault, and trying again does not help. */
async function read(piece: Blob): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await piece.arrayBuffer());
  } catch (cause) {
    throw fileError(cause, "read a blob while it was sent");
  }
}
