import { type FileHandle, link, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { fileError, PushError } from "../errors.ts";
import type { Engine, Environment, Runtime } from "../source/engine/engine.ts";
import { findEngineImage } from "../source/engine/find-image.ts";
import { type EngineImage, isIdOf } from "../source/engine/inspect.ts";
import { saveStream } from "../source/engine/save.ts";
import { countBytes } from "../source/stream/count-bytes.ts";
import { PRIVATE_FILE } from "../store/own-file.ts";
import { temporaryFile } from "../store/temporary-file.ts";

/** A tar ends with two blocks of zeros. */
const TAR_END_BYTES = 1024;

/** The alternative to offer where an archive cannot be. */
export const OTHER_FOLDER = "choose another folder with --output-dir";

/** An image of an engine, to be saved under a name that the archive will have. */
export type SavableImage = {
  readonly name: string;
  readonly engine: Engine;
};

/** Finds an image of an engine. Throws what `findEngineImage` throws. */
export async function findSavable(
  name: string,
  options: {
    readonly environment: Environment;
    readonly runtime?: Runtime | undefined;
    readonly signal: AbortSignal;
  },
): Promise<SavableImage> {
  const { engine, image } = await findEngineImage(name, { ...options, targets: [] });
  return { name: nameInArchive(name, image), engine };
}

/** Returns the name with its tag: by a bare repository, engines save all of its tags. An ID stays one. */
function nameInArchive(name: string, image: EngineImage): string {
  const { names } = image;
  const tagged = /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
  const own = names.find((each) => each === tagged) ?? names.find((each) => each.endsWith(`/${tagged}`));
  return own ?? (isIdOf(name, image) ? name : tagged);
}

export type SaveArchiveOptions = {
  /** Replaces a file of this name. */
  readonly force: boolean;
  readonly onProgress: (doneBytes: number) => void;
};

/**
 * Has an engine save an image to a file, which gets its name when it is complete and on the disk. Throws `ENGINE_FAILED`,
 * and `FILE_FAILED` also where a file of this name is there.
 */
export async function saveArchive(
  image: SavableImage,
  path: string,
  { force, onProgress }: SaveArchiveOptions,
): Promise<void> {
  try {
    await using temporary = temporaryFile(dirname(path), "save");
    const file = await open(temporary.path, "wx", PRIVATE_FILE);
    try {
      await writeArchive(file, image, onProgress);
      await file.sync();
    } finally {
      await file.close();
    }
    if (force || !(await linked(temporary.path, path))) await rename(temporary.path, path);
  } catch (cause) {
    throw fileError(cause, `write "${path}"`, OTHER_FOLDER);
  }
}

async function writeArchive(
  file: FileHandle,
  { name, engine }: SavableImage,
  onProgress: (doneBytes: number) => void,
): Promise<void> {
  let end = Buffer.alloc(0);
  for await (const piece of countBytes(saveStream(["image", "save", "--", name], name, engine), onProgress)) {
    await file.writeFile(piece);
    end = Buffer.concat([end, piece.subarray(-TAR_END_BYTES)]).subarray(-TAR_END_BYTES);
  }
  if (end.length === TAR_END_BYTES && end.every((byte) => byte === 0)) return;
  throw new PushError("ENGINE_FAILED", `Cannot save "${name}": ${engine.command} ended too early.`, {
    hint: "Run the same command again.",
  });
}

/** Gives a file a second name, which overwrites nothing. @returns whether the file system has such links */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw fileExists(to);
    return false;
  }
}

/** The error where an archive would replace another file. */
export function fileExists(path: string): PushError {
  return new PushError("FILE_FAILED", `"${path}" already exists.`, {
    hint: `Add --force to replace it, or ${OTHER_FOLDER}.`,
  });
}
