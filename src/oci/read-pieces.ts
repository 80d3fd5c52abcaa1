/** Enough that a disk has work while a piece is used. */
const READ_AHEAD = 2;

/**
 * Reads content from its beginning, in pieces of one size, the last excepted. Reads run ahead of their use. Every piece
 * has its buffer for itself, and whoever gets it may keep it. The system's errors come through as they are.
 */
export async function* readPieces(
  content: Blob,
  pieceBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reads: Promise<ArrayBuffer>[] = [];
  let offset = 0;
  for (;;) {
    signal.throwIfAborted();
    for (; reads.length <= READ_AHEAD && offset < content.size; offset += pieceBytes) {
      const read = content.slice(offset, offset + pieceBytes).arrayBuffer();
      // It is awaited in its turn, unless nobody wants it any more.
      read.catch(() => undefined);
      reads.push(read);
    }
    const oldest = reads.shift();
    if (oldest === undefined) return;
    yield new Uint8Array(await oldest);
  }
}
