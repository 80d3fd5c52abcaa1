import { fileError, PushError } from "../../errors.ts";
import { readPieces } from "../../oci/read-pieces.ts";

/** The size is small enough for steady progress and constant memory, and large enough for few reads. */
const READ_BYTES = 256 * 1024;

/**
 * Called with each piece of a body before it is sent. An error ends the request.
 *
 * @param end the offset of the piece's end in the content
 */
export type OnPiece = (end: number, piece: Uint8Array) => void | Promise<void>;

/**
 * Creates the body of one request from content. A retry needs another body.
 *
 * Over TLS, Bun reads a file's `Blob` whole into memory, but only a few pieces of a stream. The stream closes with its last
 * piece: a server may answer as soon as it has all bytes, and Bun reuses the connection only if the body ended before.
 */
export function fileBody(content: Blob, signal: AbortSignal, onPiece: OnPiece): ReadableStream<Uint8Array> {
  const pieces = readPieces(content, READ_BYTES, signal);
  let end = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = await next(pieces);
      end += piece.length;
      await onPiece(end, piece);
      controller.enqueue(piece);
      if (end >= content.size) controller.close();
    },
    cancel: () => void pieces.return(undefined),
  });
}

/** Reads the next piece. Throws `FILE_FAILED` and `CONTENT_MISMATCH`, which are not retried. */
async function next(pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
  const piece = await pieces.next().catch((cause: unknown) => {
    throw fileError(cause, "read a blob while sending it");
  });
  if (!piece.done && piece.value.length > 0) return piece.value;
  throw new PushError("CONTENT_MISMATCH", "Cannot send a blob: its file became shorter meanwhile.");
}
