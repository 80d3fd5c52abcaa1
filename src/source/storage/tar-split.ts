import { once } from "node:events";
import { closeSync, createReadStream, readSync } from "node:fs";
import { fileError, messageOf, PushError } from "../../errors.ts";
import { openSafeFolder, type SafeFolder } from "./safe-open.ts";

/** A layer's tar archive, of which an engine keeps the headers in one file, and the files unpacked. */
export type SplitLayer = {
  /** The engine's folder, to which the other paths are relative. */
  readonly root: string;
  /** The path of the gzip file with the headers. */
  readonly headers: string;
  /** The path of the folder with the files. */
  readonly files: string;
};

/** A layer's raw bytes, which can be read any number of times, but only from their start. */
export type LayerBytes = {
  readonly size: number;
  /**
   * Reads the archive in pieces, each in its own buffer. Throws `FILE_FAILED`, `IMAGE_INVALID`, and `CONTENT_MISMATCH` for a
   * file of another size than in the headers. The caller verifies the content.
   */
  read(signal: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>>;
};

const PIECE_BYTES = 1024 * 1024;

/** Most entries have some hundred bytes. Old engines keep everything after an archive's end in one entry. */
const MAX_ENTRY_BYTES = 32 * 1024 * 1024;

/** The next part of the archive: bytes in base64, or a file's content. */
type Entry =
  | { readonly base64: string }
  | { readonly name: string | Buffer<ArrayBuffer>; readonly sizeBytes: number };

/**
 * Opens a layer that Docker or Podman has taken apart with tar-split. Reads all headers, for the size, but no file. Throws
 * `IMAGE_INVALID`, and `FILE_FAILED`, also for a file below a link, which engines would follow.
 *
 * https://github.com/vbatts/tar-split/blob/v0.12.1/tar/storage/entry.go
 */
export async function openSplitLayer(layer: SplitLayer, signal: AbortSignal): Promise<LayerBytes> {
  using root = openSafeFolder(layer.root);
  const entered = new Set<string>();
  let size = 0;
  for await (const entries of readEntries(layer, signal)) {
    for (const entry of entries) {
      size += "base64" in entry ? Buffer.byteLength(entry.base64, "base64") : entry.sizeBytes;
      if ("base64" in entry) continue;
      const folder = String(entry.name).replace(/[^/]*$/, "");
      if (!entered.has(folder)) root.enterFolderOf(pathOf(entry.name, layer));
      entered.add(folder);
    }
  }
  if (!Number.isSafeInteger(size)) throw invalid(layer, "its files are too large");
  return { size, read: (readSignal) => readLayer(layer, readSignal) };
}

async function* readLayer(layer: SplitLayer, signal: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  using root = openSafeFolder(layer.root);
  let piece = new Uint8Array(PIECE_BYTES);
  let filledBytes = 0;
  for await (const entries of readEntries(layer, signal)) {
    for (const entry of entries) {
      using content = openEntry(entry, layer, root);
      while (content.leftBytes() > 0) {
        filledBytes += content.readInto(piece.subarray(filledBytes));
        if (filledBytes < PIECE_BYTES) continue;
        yield piece;
        signal.throwIfAborted();
        piece = new Uint8Array(PIECE_BYTES);
        filledBytes = 0;
      }
    }
  }
  if (filledBytes > 0) yield piece.slice(0, filledBytes);
}

/** The unread bytes of an entry. */
type EntryBytes = Disposable & { leftBytes(): number; readInto(target: Uint8Array): number };

function openEntry(entry: Entry, layer: SplitLayer, root: SafeFolder): EntryBytes {
  if (!("base64" in entry)) return openFileEntry(entry.name, entry.sizeBytes, layer, root);
  let left = Buffer.from(entry.base64, "base64");
  return {
    leftBytes: () => left.length,
    readInto(target) {
      const readBytes = Math.min(left.length, target.length);
      target.set(left.subarray(0, readBytes));
      left = left.subarray(readBytes);
      return readBytes;
    },
    [Symbol.dispose]() {},
  };
}

/** Opens a file's content. Reads are synchronous: most files are small, and a thread for each takes longer. */
function openFileEntry(
  name: string | Buffer,
  sizeBytes: number,
  layer: SplitLayer,
  root: SafeFolder,
): EntryBytes {
  const path = pathOf(name, layer);
  const file = openFile(path, root);
  let leftBytes = sizeBytes;
  const changed = () =>
    new PushError(
      "CONTENT_MISMATCH",
      `Cannot read the layer: "${path}" should have ${sizeBytes} bytes, but does not.`,
      { hint: "The engine's copy may be damaged: pull or build the image again." },
    );
  if (file.sizeBytes !== sizeBytes) {
    closeSync(file.fd);
    throw changed();
  }
  return {
    leftBytes: () => leftBytes,
    readInto(target) {
      let readBytes: number;
      try {
        readBytes = readSync(file.fd, target, 0, Math.min(leftBytes, target.length), null);
      } catch (cause) {
        throw fileError(cause, `read "${path}"`);
      }
      if (readBytes === 0) throw changed();
      leftBytes -= readBytes;
      return readBytes;
    },
    [Symbol.dispose]: () => closeSync(file.fd),
  };
}

function pathOf(name: string | Buffer, { files }: SplitLayer): string | Buffer {
  return typeof name === "string" ? `${files}/${name}` : Buffer.concat([Buffer.from(`${files}/`), name]);
}

function openFile(path: string | Buffer, root: SafeFolder) {
  try {
    return root.openFile(path);
  } catch (cause) {
    const hint =
      'The image may have been removed meanwhile. If it is still there, save it, "docker save my/app:v1 --output output.tar", and push the archive.';
    throw cause instanceof PushError ? new PushError(cause.code, cause.message, { hint, cause }) : cause;
  }
}

/** Reads the entries with content, in groups: awaiting each takes longer than reading it. */
async function* readEntries(layer: SplitLayer, signal: AbortSignal): AsyncGenerator<Entry[]> {
  // Load this slow module only when needed.
  const { createGunzip } = await import("node:zlib");
  using root = openSafeFolder(layer.root);
  const packed = createReadStream("", { fd: openFile(layer.headers, root).fd, highWaterMark: PIECE_BYTES });
  const unpacking = packed.pipe(createGunzip({ chunkSize: PIECE_BYTES }));
  packed.on("error", (cause) => unpacking.destroy(cause));
  let rest: Buffer[] = [];
  let restBytes = 0;
  try {
    for await (const bytes of unpacking as AsyncIterable<Buffer<ArrayBuffer>>) {
      signal.throwIfAborted();
      const end = bytes.lastIndexOf("\n") + 1;
      if (end > 0) {
        yield parseEntries(Buffer.concat([...rest, bytes.subarray(0, end)]).toString(), layer);
        [rest, restBytes] = [[], 0];
      }
      rest.push(bytes.subarray(end));
      restBytes += bytes.length - end;
      if (restBytes > MAX_ENTRY_BYTES) throw invalid(layer, "an entry is too large");
    }
    yield parseEntries(Buffer.concat(rest).toString(), layer);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof PushError) throw cause;
    if (cause instanceof Error && "syscall" in cause) throw fileError(cause, `read ${titleOf(layer)}`);
    throw invalid(layer, messageOf(cause), cause);
  } finally {
    unpacking.destroy();
    packed.destroy();
    if (!packed.closed) await once(packed, "close");
  }
}

function parseEntries(lines: string, layer: SplitLayer): Entry[] {
  return lines.split("\n").flatMap((line) => (line === "" ? [] : parseEntry(line, layer)));
}

/** Parses an entry. No schema checks it: for so many entries that takes longer than parsing. */
function parseEntry(line: string, layer: SplitLayer): Entry | [] {
  let entry: Readonly<Record<string, unknown>> | null;
  try {
    entry = JSON.parse(line);
  } catch (cause) {
    throw invalid(layer, "an entry is not valid JSON", cause);
  }
  const { type, payload, size = 0, name, name_raw: raw } = entry ?? {};
  if (type === 2) {
    if (typeof payload !== "string") throw invalid(layer, "an entry has no payload");
    return { base64: payload };
  }
  if (type !== 1) throw invalid(layer, "the type of an entry is unknown");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw invalid(layer, "a file has no valid size");
  // Folders, links and empty files have no content.
  if (size === 0) return [];
  // A name that is not UTF-8 is in base64.
  if (typeof raw === "string") return { name: Buffer.from(raw, "base64"), sizeBytes: size };
  if (typeof name !== "string") throw invalid(layer, "a file has no name");
  return { name, sizeBytes: size };
}

function titleOf({ root, headers }: SplitLayer): string {
  return `"${headers}" in "${root}"`;
}

function invalid(layer: SplitLayer, problem: string, cause?: unknown): PushError {
  return new PushError("IMAGE_INVALID", `Cannot read ${titleOf(layer)}: ${problem}.`, {
    hint: "The engine's copy may be damaged: pull or build the image again.",
    cause,
  });
}
