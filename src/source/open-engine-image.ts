import type { ImageOrigin } from "../oci/image.ts";
import type { Engine, Environment } from "./engine/command.ts";
import { engineTitle, type Runtime } from "./engine/failures.ts";
import { findEngineImage } from "./engine/find-image.ts";
import { assertPlatforms, type EngineImage } from "./engine/inspect.ts";
import { type SaveOptions, saveEngineImage } from "./engine/save.ts";
import { readSavedStream, type SavedPart } from "./stream/saved-stream.ts";

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

type EngineOptions = SaveOptions & {
  readonly engineEnvironment: Environment;
  readonly runtime?: Runtime | undefined;
  readonly signal: AbortSignal;
};

/** Finds an image in an engine, which saves it when it is read. Throws what `findEngineImage` throws, and `IMAGE_NOT_FOUND`. */
export async function openEngineImage(
  name: string,
  options: EngineOptions,
): Promise<StreamSource & AsyncDisposable> {
  const { signal, engineEnvironment, runtime, platforms } = options;
  const { engine, image } = await findEngineImage(name, { environment: engineEnvironment, signal, runtime });
  assertPlatforms(image, name, engine, platforms);
  const save = () => saveEngineImage(image, name, engine, options);
  return {
    access: "once",
    origin: {
      kind: "engine",
      name,
      engine: engineTitle(engine.runtime),
      date: new Date(image.created),
      sizeBytes: undefined,
    },
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
