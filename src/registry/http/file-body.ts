import { fileError, PushError } from "../../errors.ts";
import { readPieces } from "../../oci/read-pieces.ts";

/** Small enough for steady progress and flat memory, large enough for few reads. */
const READ_BYTES = 256 * 1024;

/**
 * Sees each piece of a body before it is sent. Its error ends the request.
 *
 * @param end the offset of the piece's end in the content
 */
export type OnPiece = (end: number, piece: Uint8Array) => void | Promise<void>;

/**
 * Makes a request body of content, for one request. A retry needs another body.
 *
 * Over TLS, Bun reads a file's `Blob` whole into memory, but only a few pieces of a stream. The stream ends together
 * with its last piece: a server may answer as soon as it has all bytes, and Bun keeps the connection only if the body
 * ended before the answer came.
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

/** Reads the next piece. A file's errors are no transient errors of the network: a retry does not help. */
async function next(pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
  const piece = await pieces.next().catch((cause: unknown) => {
    throw fileError(cause, "read a blob while sending it");
  });
  if (!piece.done && piece.value.length > 0) return piece.value;
  throw new PushError("CONTENT_MISMATCH", "Cannot send a blob: its file became shorter meanwhile.");
}
