import { fileError, PushError } from "../../errors.ts";
import { readPieces } from "../../oci/read-pieces.ts";

/** Small enough that progress moves and memory stays flat, large enough to be rare. */
const READ_BYTES = 256 * 1024;

/**
 * Called with each piece of a body before it goes to the network. An error that it throws ends the request.
 *
 * @param end where the piece ends in the content
 */
export type OnPiece = (end: number, piece: Uint8Array) => void | Promise<void>;

/**
 * Reads content as a request body, once; another attempt makes another body.
 *
 * Bun sends a `Blob` of a file by reading it whole into memory over TLS, and a stream without holding more than a few
 * pieces of it. The stream ends together with its last piece: a server may answer as soon as it has all bytes, and
 * Bun keeps a connection only where the body had ended before the answer came.
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

/** Reads the next piece. Errors of the file are told apart from those of the network, which are retried. */
async function next(pieces: AsyncGenerator<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
  const piece = await pieces.next().catch((cause: unknown) => {
    throw fileError(cause, "read a blob while it was sent");
  });
  if (!piece.done && piece.value.length > 0) return piece.value;
  throw new PushError("CONTENT_MISMATCH", "Cannot send a blob: its file became shorter while it was read.");
}
