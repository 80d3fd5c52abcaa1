/** Passes bytes on, and tells at once and with each piece how many have come. */
export async function* countBytes<T extends Uint8Array>(
  pieces: AsyncIterable<T>,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<T> {
  let doneBytes = 0;
  // The first byte may take long.
  onProgress(0);
  for await (const piece of pieces) {
    doneBytes += piece.length;
    onProgress(doneBytes);
    yield piece;
  }
}
