/** Bytes as a pipe brings them: in pieces, each with memory of its own. */
export async function* piecesOf(
  bytes: Uint8Array,
  pieceBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const size = Math.min(pieceBytes, Math.max(bytes.length, 1));
  for (let done = 0; done < bytes.length; done += size)
    yield Uint8Array.from(bytes.subarray(done, done + size));
}
