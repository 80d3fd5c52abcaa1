import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { fileError, PushError } from "../errors.ts";
import type { Content } from "../oci/content.ts";
import { detectCompression, type ImageOrigin } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";
import { type Attached, attachedTo } from "./attached.ts";
import type { Engine, Environment } from "./engine/command.ts";
import type { Runtime } from "./engine/failures.ts";
import { findEngineImage } from "./engine/find-image.ts";
import { assertPlatforms, type EngineImage } from "./engine/inspect.ts";
import { saveEngineImage } from "./engine/save.ts";
import { openArchiveFiles } from "./files/archive.ts";
import { lacks, type Missing } from "./files/content.ts";
import { openFolderFiles } from "./files/folder.ts";
import type { ImageFiles } from "./files/image-files.ts";
import type { Referrer } from "./files/oci-layout.ts";
import { listImages } from "./list-images.ts";
import { type ImageChoice, selectImage } from "./select-image.ts";
import { type PlatformChoice, selectPlatform } from "./select-platform.ts";
import { readSavedStream, type SavedPart } from "./stream/saved-stream.ts";
import { parseSource } from "./transport.ts";

const LOOKS_LIKE_PATH = /^[./~\\]|\.(tar|tar\.gz|tgz|tar\.zst|zst|gz)$/;

/** Files are opened when they are read. */
const NOTHING_TO_CLOSE: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };

const READ_BYTES = 1024 * 1024;

/** An opened source, until it is disposed of. `access` says how to read it. */
export type Source = AsyncDisposable & (StoredSource | StreamSource);

/** What a source is before it is read. */
export type OpenedSource = AsyncDisposable & (StoredSource | StreamSource | ArchiveSource);

/** An archive that comes as a stream, in the stream's own order. */
export type ArchiveSource = {
  readonly access: "stream";
  readonly origin: ImageOrigin;
  /** Reads it, once. @param onProgress told how many bytes have come, and how many are to come if that is known */
  read(onProgress: (doneBytes: number, totalBytes?: number) => void): AsyncIterable<Uint8Array<ArrayBuffer>>;
};

/** Content in files. It can be read in any order, and again. */
export type StoredSource = {
  readonly access: "any";
  readonly origin: ImageOrigin;
  readonly content: Content;
  /** The names that the source has for it, such as `my/app:v1`. */
  readonly names: readonly string[];
  /** What its index lists, and is not pushed. */
  readonly leftOut: LeftOut | undefined;
  /** Signatures, SBOMs and the like about it. */
  readonly referrers: readonly Attached[];
  /** Reads content that was damaged in the cache again. Undefined if it does not come from there. */
  readonly again?: (() => Promise<unknown>) | undefined;
};

/** An image that comes as a stream, in the stream's own order, while an engine saves it. */
export type StreamSource = {
  readonly access: "once";
  readonly origin: ImageOrigin;
  readonly image: EngineImage;
  readonly engine: Engine;
  /** Has the engine save the image. Throws `ENGINE_FAILED`. */
  save(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /**
   * Has the engine save the image. Each call is one more save. Throws `ENGINE_FAILED`, and what `readSavedStream` throws.
   *
   * @param onProgress told how many bytes the engine has sent
   */
  read(onProgress: (doneBytes: number) => void): AsyncGenerator<SavedPart>;
};

/** Says what is to be pushed of a source that holds several images or platforms. */
export type SourceChoice = ImageChoice & PlatformChoice;

export type SourceOptions = SourceChoice & {
  /** A path, an image's name in the engine, or a stream. */
  readonly source: string | SourceStream;
  /** Environment variables of the engines' commands. */
  readonly engineEnvironment: Environment;
  /** The only engine to ask. Default: the first that has the image. */
  readonly runtime?: Runtime | undefined;
  readonly signal: AbortSignal;
};

/** An archive that another program writes. */
export type SourceStream = { readonly name: string; readonly stream: AsyncIterable<Uint8Array> };

/** Opens an image. Throws `SOURCE_NOT_FOUND`, `SOURCE_AMBIGUOUS`, and what reading archives and asking engines throws. */
export async function openSource(options: SourceOptions): Promise<OpenedSource> {
  const { source } = options;
  if (typeof source !== "string") return openStream(source);
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
      const isPath = found !== undefined || LOOKS_LIKE_PATH.test(source);
      return isPath ? openPath(found, source, options) : openEngineImage(source, options);
    }
    default:
      throw new PushError("USAGE", `The source "${source}" is not opened here.`);
  }
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
  throw new PushError("FILE_FAILED", `Cannot read "${path}": it is neither a file nor a folder nor a pipe.`);
}

async function openPath(
  origin: ImageOrigin | undefined,
  path: string,
  options: SourceOptions,
): Promise<OpenedSource> {
  if (origin === undefined) {
    throw new PushError("SOURCE_NOT_FOUND", `Cannot read the image: there is no file or folder "${path}".`, {
      hint: `Write one with "docker save my/app:v1 --output ${path}", or name an image of the engine.`,
    });
  }
  const { kind } = origin;
  const title = `${kind} "${path}"`;
  if (kind === "folder") return openFiles(await openFolderFiles(path, title), origin, options);
  if (kind === "archive") {
    const compression = await detectCompression(Bun.file(path)).catch((cause: unknown) => {
      throw fileError(cause, `read "${path}"`);
    });
    if (compression === "none") return openFiles(await openArchiveFiles(path, title), origin, options);
  }
  return {
    access: "stream",
    origin,
    async *read(onProgress) {
      const file = createReadStream(path, { signal: options.signal, highWaterMark: READ_BYTES });
      try {
        for await (const piece of file) {
          onProgress(file.bytesRead, origin.sizeBytes);
          yield piece;
        }
      } catch (cause) {
        throw fileError(cause, `read "${path}"`);
      }
    },
    ...NOTHING_TO_CLOSE,
  };
}

function openStream({ name, stream }: SourceStream): OpenedSource {
  return {
    access: "stream",
    origin: { kind: "stream", name, date: undefined, sizeBytes: undefined },
    async *read(onProgress) {
      let doneBytes = 0;
      for await (const piece of stream) {
        doneBytes += piece.length;
        onProgress(doneBytes);
        yield new Uint8Array(piece.buffer as ArrayBuffer, piece.byteOffset, piece.length);
      }
    },
    ...NOTHING_TO_CLOSE,
  };
}

/** Opens what is to be pushed of an archive or folder. Throws what selecting and reading throws. */
export async function openFiles(
  files: ImageFiles,
  origin: ImageOrigin,
  choice: SourceChoice,
): Promise<StoredSource & AsyncDisposable> {
  const { title } = files;
  const { candidates, referrers } = await listImages(files);
  const candidate = await selectImage(candidates, choice, title);
  return openContent(await candidate.read(), { title, origin, names: candidate.names, referrers }, choice);
}

/** What is known of content beside its manifest. */
export type About = Pick<StoredSource, "origin" | "names"> & {
  /** For messages. */
  readonly title: string;
  readonly referrers: readonly Referrer[];
};

/** Opens what is to be pushed of content. Throws what selecting platforms throws, and `IMAGE_INVALID` for missing parts. */
export async function openContent(
  whole: Content | Missing,
  { title, origin, names, referrers }: About,
  choice: PlatformChoice,
): Promise<StoredSource & AsyncDisposable> {
  if (whole.kind === "missing") throw lacks(title, whole);
  const { content, leftOut } = selectPlatform(whole, choice, title);
  return {
    access: "any",
    origin,
    content,
    names,
    leftOut,
    referrers: await attachedTo(content, referrers),
    ...NOTHING_TO_CLOSE,
  };
}

async function openEngineImage(
  name: string,
  options: SourceOptions,
): Promise<StreamSource & AsyncDisposable> {
  const { signal, engineEnvironment, runtime, platforms } = options;
  const { engine, image } = await findEngineImage(name, { environment: engineEnvironment, signal, runtime });
  assertPlatforms(image, name, engine, platforms);
  const save = () => saveEngineImage(image, name, engine, options);
  return {
    access: "once",
    origin: { kind: "engine", name, date: new Date(image.created), sizeBytes: undefined },
    image,
    engine,
    save,
    read: (onProgress) =>
      readSavedStream(
        countBytes(save(), onProgress),
        `archive that ${engine.runtime} saved of "${name}"`,
        image,
      ),
    // A save ends with its reader, or with the signal.
    ...NOTHING_TO_CLOSE,
  };
}

async function* countBytes<T extends Uint8Array>(
  pieces: AsyncIterable<T>,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<T> {
  let doneBytes = 0;
  // Report at once: the first byte may take long.
  onProgress(0);
  for await (const piece of pieces) {
    doneBytes += piece.length;
    onProgress(doneBytes);
    yield piece;
  }
}
