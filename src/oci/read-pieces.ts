/** The number of reads in progress while the caller uses a piece. They keep the disk busy. */
const READ_AHEAD = 2;

/**
 * Reads content from its beginning in pieces of `pieceBytes`; the last may be shorter. Reads ahead of the caller. Each
 * piece has its own buffer, which the caller may keep. Throws the system's errors unchanged.
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
      // A read that the caller never asks for may fail unnoticed; all others are awaited below.
      read.catch(() => undefined);
      reads.push(read);
    }
    const oldest = reads.shift();
    if (oldest === undefined) return;
    yield new Uint8Array(await oldest);
  }
}

type Pieces = AsyncIterable<Uint8Array<ArrayBuffer>>;

/**
 * Reads at least the first `headBytes`, or all bytes if there are fewer. `all` yields the content from its start, head
 * included.
 */
export async function peek(
  bytes: Pieces,
  headBytes: number,
): Promise<{ readonly head: Uint8Array<ArrayBuffer>; readonly all: Pieces }> {
  const pieces = bytes[Symbol.asyncIterator]();
  const first: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  let isOver = false;
  while (size < headBytes && !isOver) {
    const piece = await pieces.next();
    isOver = piece.done === true;
    if (!piece.done) first.push(piece.value);
    size += piece.value?.length ?? 0;
  }
  async function* all() {
    try {
      yield* first;
      if (!isOver)
        for (let piece = await pieces.next(); !piece.done; piece = await pieces.next()) yield piece.value;
    } finally {
      await pieces.return?.();
    }
  }
  return { head: new Uint8Array(Buffer.concat(first)), all: all() };
}
