import { endedEarly, readTarEntries, type TarEntry } from "./entries.ts";

/** The first bytes of a file tell its kind. */
const START_BYTES = 512;

/** A file in a streamed archive. */
export type StreamedFile = {
  readonly path: string;
  readonly sizeBytes: number;
  /** Readable once, and only before the next file is requested, which skips unread bytes. */
  readonly bytes: AsyncIterable<Uint8Array<ArrayBuffer>>;
};

/** A member of a streamed archive. Only files have bytes. */
export type StreamedEntry = TarEntry & Pick<StreamedFile, "bytes">;

/** Yields the members of a streamed tar archive. Throws `ARCHIVE_INVALID`. */
export async function* readTarStream(
  archive: AsyncIterable<Uint8Array<ArrayBuffer>>,
  title: string,
): AsyncGenerator<StreamedEntry> {
  const pieces = archive[Symbol.asyncIterator]();
  let rest = new Uint8Array();
  /** The first pieces, for the error of a file of another kind. */
  const start: Uint8Array[] = [];
  /** The offset of `rest` in the archive. */
  let position = 0;

  /** Returns the next bytes, at most `mostBytes`. */
  async function next(mostBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    while (rest.length === 0) {
      const piece = await pieces.next();
      if (piece.done) throw endedEarly(title, position, Buffer.concat(start));
      rest = piece.value;
      if (position < START_BYTES) start.push(rest);
    }
    const bytes = rest.subarray(0, mostBytes);
    rest = rest.subarray(bytes.length);
    position += bytes.length;
    return bytes;
  }

  async function* readUntil(end: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    while (position < end) yield await next(end - position);
  }

  async function read(buffer: Uint8Array, at: number): Promise<void> {
    for await (const _passed of readUntil(at));
    let done = 0;
    for await (const bytes of readUntil(at + buffer.length)) {
      buffer.set(bytes, done);
      done += bytes.length;
    }
  }

  try {
    for await (const entry of readTarEntries(read, title))
      yield { ...entry, bytes: readUntil(entry.offset + entry.sizeBytes) };
    // Read to the end, so that the writer does not fail on a closed pipe.
    for (let piece = await pieces.next(); !piece.done; piece = await pieces.next());
  } finally {
    await pieces.return?.();
  }
}
