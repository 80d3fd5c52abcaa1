/**
 * Cuts pieces of any size into blocks of `blockBytes`; the last may be shorter. Empty content becomes one empty block.
 * Does not copy a piece that has the size of a block and its own buffer.
 */
export async function* cutBlocks(
  pieces: AsyncIterable<Uint8Array>,
  blockBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let block = new Uint8Array(0);
  let filledBytes = 0;
  let isEmpty = true;
  for await (const piece of pieces) {
    isEmpty &&= piece.length === 0;
    if (filledBytes === 0 && piece.length === blockBytes && ownsBuffer(piece)) {
      yield piece;
      continue;
    }
    for (let at = 0; at < piece.length; ) {
      if (filledBytes === 0) block = new Uint8Array(blockBytes);
      const part = piece.subarray(at, at + blockBytes - filledBytes);
      block.set(part, filledBytes);
      filledBytes += part.length;
      at += part.length;
      if (filledBytes < blockBytes) continue;
      filledBytes = 0;
      yield block;
    }
  }
  if (filledBytes > 0 || isEmpty) yield block.subarray(0, filledBytes);
}

function ownsBuffer(piece: Uint8Array): piece is Uint8Array<ArrayBuffer> {
  return piece.buffer instanceof ArrayBuffer && piece.buffer.byteLength === piece.length;
}
