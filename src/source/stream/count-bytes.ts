/** Passes pieces on. Calls `onProgress` at once and with each piece, with the number of bytes so far. */
export async function* countBytes<T extends Uint8Array>(
  pieces: AsyncIterable<T>,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<T> {
  let doneBytes = 0;
  onProgress(0);
  for await (const piece of pieces) {
    doneBytes += piece.length;
    onProgress(doneBytes);
    yield piece;
  }
}
