import { stat } from "node:fs/promises";
import { fileError, PushError } from "../errors.ts";
import type { Content } from "../oci/content.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";
import { type Attached, attachedTo } from "./attached.ts";
import {
  type Engine,
  type EngineImage,
  type Environment,
  inspectEngineImage,
  saveEngineImage,
} from "./engine/docker.ts";
import { openArchiveFiles } from "./files/archive.ts";
import { lacks } from "./files/content.ts";
import { openFolderFiles } from "./files/folder.ts";
import type { ImageFiles } from "./files/image-files.ts";
import { decompressArchive, type UnpackOptions } from "./files/outer-compression.ts";
import { listImages } from "./list-images.ts";
import { type ImageChoice, selectImage } from "./select-image.ts";
import { type PlatformChoice, selectPlatform } from "./select-platform.ts";
import { readSavedStream, type SavedPart } from "./stream/saved-stream.ts";

/** An opened source, until it is disposed of. `access` says how to read it. */
export type Source = AsyncDisposable & (StoredSource | StreamSource);

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
};

/** An image that comes as a stream, in the stream's own order, while an engine saves it. */
export type StreamSource = {
  readonly access: "once";
  readonly origin: ImageOrigin;
  readonly image: EngineImage;
  readonly engine: Engine;
  /**
   * Has the engine save the image. Each call is one more save. Throws `ENGINE_FAILED`, and what `readSavedStream` throws.
   *
   * @param onProgress told how many bytes the engine has sent
   */
  read(onProgress: (doneBytes: number) => void): AsyncGenerator<SavedPart>;
};

/** Says what is to be pushed of a source that holds several images or platforms. */
export type SourceChoice = ImageChoice & PlatformChoice;

export type SourceOptions = UnpackOptions &
  SourceChoice & {
    /** A path, or an image's name in the engine. */
    readonly source: string;
    /** Environment variables of the docker command. */
    readonly engineEnvironment: Environment;
  };

/** Opens an image. Throws `SOURCE_NOT_FOUND`, `SOURCE_AMBIGUOUS`, and what reading archives and asking engines throws. */
export async function openSource(options: SourceOptions): Promise<Source> {
  const { source } = options;
  const found = await describePath(source);
  if (found !== undefined) return openPath(found, options);
  if (/^[./~\\]|\.(tar|tar\.gz|tgz|tar\.zst|zst|gz)$/.test(source)) {
    throw new PushError(
      "SOURCE_NOT_FOUND",
      `Cannot read the image: there is no file or folder "${source}".`,
      { hint: `Write one with "docker save my/app:v1 --output ${source}", or name an image of the engine.` },
    );
  }
  return openEngineImage(source, options);
}

async function describePath(path: string): Promise<ImageOrigin | undefined> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT" || cause.code === "ENOTDIR") return undefined;
    throw fileError(cause, `read "${path}"`);
  });
  if (found === undefined) return undefined;
  if (found.isDirectory()) return { kind: "folder", name: path, date: found.mtime, sizeBytes: undefined };
  if (found.isFile()) return { kind: "archive", name: path, date: found.mtime, sizeBytes: found.size };
  throw new PushError("FILE_FAILED", `Cannot read "${path}": it is not a regular file.`, {
    hint: "An archive is read in place, which a pipe does not allow: write it to a file first.",
  });
}

async function openPath(origin: ImageOrigin, options: SourceOptions): Promise<Source> {
  const { kind, name: path } = origin;
  const title = `${kind} "${path}"`;
  await using resources = new AsyncDisposableStack();
  const unpacked = resources.use(kind === "archive" ? await decompressArchive(path, options) : undefined);
  const files =
    kind === "archive"
      ? await openArchiveFiles(unpacked?.path ?? path, title)
      : await openFolderFiles(path, title);
  const source = await openFiles(files, origin, options);
  const owned = resources.move();
  return { ...source, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Opens what is to be pushed of an archive or folder. Throws what selecting and reading throws. */
export async function openFiles(
  files: ImageFiles,
  origin: ImageOrigin,
  choice: SourceChoice,
): Promise<StoredSource> {
  const { title } = files;
  const { candidates, referrers } = await listImages(files);
  const candidate = await selectImage(candidates, choice, title);
  const whole = await candidate.read();
  if (whole.kind === "missing") throw lacks(title, whole);
  const { content, leftOut } = selectPlatform(whole, choice, title);
  return {
    access: "any",
    origin,
    content,
    names: candidate.names,
    leftOut,
    referrers: await attachedTo(content, referrers),
  };
}

async function openEngineImage(
  name: string,
  { signal, engineEnvironment }: SourceOptions,
): Promise<StreamSource & AsyncDisposable> {
  const engine = { environment: engineEnvironment, signal };
  const image = await inspectEngineImage(name, engine);
  return {
    access: "once",
    origin: { kind: "engine", name, date: new Date(image.created), sizeBytes: undefined },
    image,
    engine,
    read: (onProgress) =>
      readSavedStream(
        countBytes(saveEngineImage(image, name, engine), onProgress),
        `archive that docker saved of "${name}"`,
        image,
      ),
    // A save ends with its reader, or with the signal.
    [Symbol.asyncDispose]: async () => {},
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
