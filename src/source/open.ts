import { stat } from "node:fs/promises";
import { fileError, PushError } from "../errors.ts";
import type { Image, ImageOrigin } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";
import { formatReference, type Reference } from "../oci/reference.ts";
import { type EngineImage, inspectEngineImage, saveEngineImage } from "./engine/docker.ts";
import { openArchiveFiles } from "./files/archive.ts";
import { readDockerArchive } from "./files/docker-archive.ts";
import { openFolderFiles } from "./files/folder.ts";
import type { ImageFiles } from "./files/image-files.ts";
import { findLeftOut, readOciLayout } from "./files/oci-layout.ts";
import { decompressArchive } from "./files/outer-compression.ts";
import { selectImage } from "./select-image.ts";
import { readSavedStream, type SavedParts, type SavedVisitor } from "./stream/saved-stream.ts";

/** What is looked for in the working folder where no source was named. */
const DEFAULT_ARCHIVE = "output.tar";
const DEFAULT_FOLDER = ".output-image";

/** An opened source. What it holds can be read until it is disposed of. */
export type Source = AsyncDisposable & (StoredSource | EngineSource);

/** An image in files, whose layers can be read in any order, and as often as needed. */
type StoredSource = {
  readonly kind: "stored";
  readonly description: ImageOrigin;
  readonly image: Image;
  readonly leftOut: LeftOut | undefined;
};

/** An image of an engine, of which nothing is read until it is saved. */
export type EngineSource = {
  readonly kind: "engine";
  readonly description: ImageOrigin;
  readonly image: EngineImage;
  /**
   * Has the engine save the image, and hands it over as it comes. Throws `ENGINE_FAILED`, and what `readSavedStream`
   * throws.
   *
   * @param onProgress told how many bytes the engine has sent
   */
  save(visitor: SavedVisitor, onProgress: (doneBytes: number) => void): Promise<SavedParts>;
};

export type SourceOptions = {
  /** A path, or an image's name in the engine. Undefined: look in the working folder, then ask the engine. */
  readonly source: string | undefined;
  readonly target: Reference;
  /** Where an archive may be unpacked. Must exist. */
  readonly temporaryDirectory: string;
  readonly signal: AbortSignal;
  /** Told how far an archive is unpacked that has to be, before it can be read. */
  readonly onUnpacking: (path: string, doneBytes: number, totalBytes: number) => void;
};

/**
 * Opens what is to be pushed. Throws `SOURCE_NOT_FOUND`, `SOURCE_AMBIGUOUS`, and what reading archives and asking
 * engines throws.
 */
export async function openSource(options: SourceOptions): Promise<Source> {
  const { source, target } = options;
  if (source === undefined) {
    const found = (await describePath(DEFAULT_ARCHIVE)) ?? (await describePath(DEFAULT_FOLDER));
    if (found !== undefined) return openPath(found, options);
    return openEngineImage(formatReference(target), options);
  }
  const found = await describePath(source);
  if (found !== undefined) return openPath(found, options);
  if (/^[./~\\]|\.(tar|tar\.gz|tgz|tar\.zst|zst|gz)$/.test(source)) {
    throw new PushError(
      "SOURCE_NOT_FOUND",
      `Cannot read the image: there is no file or folder "${source}".`,
      {
        hint: `Write one with "docker save my/app:v1 --output ${source}", or name an image of the engine.`,
      },
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

async function openPath(description: ImageOrigin, options: SourceOptions): Promise<Source> {
  const { kind, name: path } = description;
  const title = `${kind} "${path}"`;
  await using resources = new AsyncDisposableStack();
  let files: ImageFiles;
  if (kind === "folder") {
    files = await openFolderFiles(path, title);
  } else {
    const unpacked = await decompressArchive(
      path,
      options.temporaryDirectory,
      options.signal,
      (done, total) => options.onUnpacking(path, done, total),
    );
    if (unpacked !== undefined) resources.use(unpacked);
    files = await openArchiveFiles(unpacked?.path ?? path, title);
  }
  const image = await readImage(files, namesOf(options.target));
  const leftOut = await findLeftOut(files, image);
  const owned = resources.move();
  return { kind: "stored", description, image, leftOut, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function openEngineImage(
  name: string,
  { signal }: SourceOptions,
): Promise<EngineSource & AsyncDisposable> {
  const image = await inspectEngineImage(name, signal);
  return {
    kind: "engine",
    description: { kind: "engine", name, date: new Date(image.created), sizeBytes: undefined },
    image,
    save: (visitor, onProgress) =>
      readSavedStream(
        countBytes(saveEngineImage(image, name, signal), onProgress),
        `archive that docker saved of "${name}"`,
        image,
        visitor,
      ),
    // What it has begun ends with the signal.
    [Symbol.asyncDispose]: async () => {},
  };
}

async function* countBytes<T extends Uint8Array>(
  pieces: AsyncIterable<T>,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<T> {
  let doneBytes = 0;
  // The engine may be silent for long before its first byte.
  onProgress(0);
  for await (const piece of pieces) {
    doneBytes += piece.length;
    onProgress(doneBytes);
    yield piece;
  }
}

async function readImage(files: ImageFiles, wanted: readonly string[]): Promise<Image> {
  const images = (await readDockerArchive(files)) ?? (await readOciLayout(files));
  if (images === undefined) {
    throw new PushError(
      "IMAGE_INVALID",
      `Cannot read the ${files.title}: it has neither manifest.json nor index.json.`,
      {
        hint: "It should be what docker save writes. The archive of a container's files (docker export) is not an image.",
      },
    );
  }
  return selectImage(images, wanted, files.title).load();
}

function namesOf(target: Reference): string[] {
  return [formatReference(target), `${target.repository}:${target.tag}`];
}
