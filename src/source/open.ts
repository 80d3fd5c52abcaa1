import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { closest, distance } from "fastest-levenshtein";
import { fileError, PushError } from "../errors.ts";
import { detectCompression, type ImageOrigin } from "../oci/image.ts";
import { openArchiveFiles } from "./files/archive.ts";
import { openFolderFiles } from "./files/folder.ts";
import { openFiles } from "./open-content.ts";
import { NOTHING_TO_CLOSE, type OpenedSource, type SourceOptions } from "./source.ts";
import { countBytes } from "./stream/count-bytes.ts";
import { parseSource, type SourceStream } from "./transport.ts";

const LOOKS_LIKE_PATH = /^[./~\\]|\.(tar|tar\.gz|tgz|tar\.zst|zst|gz)$/;

const READ_BYTES = 1024 * 1024;

/** Opens an engine's image. Pushes of archives do not load this code. */
async function openEngineImage(name: string, options: SourceOptions): Promise<OpenedSource> {
  return (await import("./open-engine.ts")).openEngineImage(name, options);
}

/** Opens a source. Throws `SOURCE_NOT_FOUND`, `SOURCE_AMBIGUOUS`, and the errors of reading archives and asking engines. */
export async function openSource(options: SourceOptions): Promise<OpenedSource> {
  const { source } = options;
  if (typeof source !== "string") return openStream(source, options.signal);
  const place = parseSource(source);
  switch (place.kind) {
    case "engine":
      return openEngineImage(place.name, { ...options, runtime: place.runtime });
    case "path":
      return openPath(await describePath(place.path), place.path, {
        ...options,
        image: options.image ?? place.image,
      });
    case "any": {
      const found = await describePath(source);
      return found !== undefined || LOOKS_LIKE_PATH.test(source)
        ? openPath(found, source, options)
        : openEngineImage(source, options);
    }
    default:
      // Callers open images at registries themselves.
      throw new PushError(
        "USAGE",
        `The source "${source}" stands for standard input, which a push does not read.`,
        {
          hint: "Pass the stream instead: { name, stream }.",
        },
      );
  }
}

/** Tells whether a source is the path of a file or folder, or looks like one. Throws `FILE_FAILED`. */
export async function isPath(source: string): Promise<boolean> {
  return LOOKS_LIKE_PATH.test(source) || (await describePath(source)) !== undefined;
}

async function describePath(path: string): Promise<ImageOrigin | undefined> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT" || cause.code === "ENOTDIR") return undefined;
    throw fileError(cause, `read "${path}"`);
  });
  if (found === undefined) return undefined;
  const origin = { name: path, date: found.mtime, sizeBytes: undefined };
  if (found.isDirectory()) return { ...origin, kind: "folder" };
  if (found.isFile()) return { ...origin, kind: "archive", sizeBytes: found.size };
  if (found.isFIFO() || found.isCharacterDevice()) return { ...origin, kind: "stream", date: undefined };
  throw new PushError("FILE_FAILED", `Cannot read "${path}": it is not a file, folder or pipe.`);
}

/** Suggests a file or folder whose name differs from a missing one in a few letters. */
async function nearestFile(path: string): Promise<string | undefined> {
  const name = basename(path);
  const names = await readdir(dirname(path)).catch(() => []);
  // The name itself is there if it is a link that leads nowhere.
  const others = names.filter((each) => each !== name);
  const nearest = closest(name, others);
  if (nearest === undefined || distance(name, nearest) > Math.min(3, name.length / 3)) return undefined;
  return `Did you mean "${path.slice(0, path.lastIndexOf(name))}${nearest}"?`;
}

async function openPath(
  origin: ImageOrigin | undefined,
  path: string,
  options: SourceOptions,
): Promise<OpenedSource> {
  if (origin === undefined) {
    throw new PushError("SOURCE_NOT_FOUND", `Cannot read "${path}": there is no such file or folder.`, {
      hint:
        (await nearestFile(path)) ??
        `Save an image there with "docker save my/app:v1 --output ${path}", or name an image of an engine as the source.`,
    });
  }
  const { kind } = origin;
  const title = `${kind} "${path}"`;
  if (kind === "folder")
    return openFiles(await openFolderFiles(path, title), origin, options, options.signal);
  if (kind === "archive") {
    const compression = await detectCompression(Bun.file(path)).catch((cause: unknown) => {
      throw fileError(cause, `read "${path}"`);
    });
    if (compression === "none")
      return openFiles(await openArchiveFiles(path, title), origin, options, options.signal);
  }
  return {
    access: "stream",
    origin,
    async *read(onProgress) {
      const file = createReadStream(path, { signal: options.signal, highWaterMark: READ_BYTES });
      // After a stop, nobody reads the stream. Its error must not count as unhandled.
      file.on("error", () => {});
      onProgress(0);
      try {
        // Opening a pipe waits for a writer, and cannot be aborted.
        for await (const piece of bytesOf(untilAborted(file, options.signal))) {
          onProgress(file.bytesRead, origin.sizeBytes);
          yield piece;
        }
      } catch (cause) {
        options.signal.throwIfAborted();
        throw fileError(cause, `read "${path}"`);
      }
    },
    ...NOTHING_TO_CLOSE,
  };
}

function openStream({ name, stream }: SourceStream, signal: AbortSignal): OpenedSource {
  return {
    access: "stream",
    origin: { kind: "stream", name, date: undefined, sizeBytes: undefined },
    read: (onProgress) => countBytes(bytesOf(untilAborted(stream, signal)), onProgress),
    ...NOTHING_TO_CLOSE,
  };
}

async function* bytesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for await (const { buffer, byteOffset, length } of pieces)
    yield new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
}

/** Yields a stream's pieces. Throws the signal's reason even while the stream waits for a writer. */
async function* untilAborted(stream: SourceStream["stream"], signal: AbortSignal) {
  const pieces = stream[Symbol.asyncIterator]();
  let fail: (reason: unknown) => void = () => {};
  const onAbort = () => fail(signal.reason);
  signal.addEventListener("abort", onAbort);
  try {
    for (;;) {
      signal.throwIfAborted();
      // Promise.race with one promise for all pieces would keep them in memory.
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Uint8Array>>();
      fail = reject;
      pieces.next().then(resolve, reject);
      const piece = await promise;
      if (piece.done) return;
      yield piece.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Do not await this: it waits for the writer as well.
    pieces.return?.().catch(() => undefined);
  }
}
