import type { Content } from "../oci/content.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";
import type { Attached } from "./attached.ts";
import type { Engine, Environment, Runtime } from "./engine/engine.ts";
import type { EngineImage } from "./engine/inspect.ts";
import type { ImageChoice } from "./select-image.ts";
import type { PlatformChoice } from "./select-platform.ts";
import type { SavedPart } from "./stream/saved-stream.ts";
import type { SourceStream } from "./transport.ts";

/** An opened source, until its disposal. `access` tells how to read it. */
export type Source = AsyncDisposable & (StoredSource | SavedSource);

/** A source before any of it is read. */
export type OpenedSource = AsyncDisposable & (StoredSource | SavedSource | ArchiveSource);

/** An archive that is read once, in its own order. */
export type ArchiveSource = {
  readonly access: "stream";
  readonly origin: ImageOrigin;
  /** Reads the archive, once. @param onProgress called at once and with each piece. The total is undefined if unknown */
  read(onProgress: (doneBytes: number, totalBytes?: number) => void): AsyncIterable<Uint8Array<ArrayBuffer>>;
};

/** Content that can be read in any order, any number of times. */
export type StoredSource = {
  readonly access: "any";
  readonly origin: ImageOrigin;
  readonly content: Content;
  /** The content's names in the source, such as `my/app:v1`. */
  readonly names: readonly string[];
  /** A summary of the index entries that are not pushed. */
  readonly leftOut: LeftOut | undefined;
  /** Signatures, SBOMs and other referrers. */
  readonly referrers: readonly Attached[];
  /** Saves the image again after its cached content was found damaged. Undefined for content outside the cache. */
  readonly again?: (() => Promise<unknown>) | undefined;
};

/** An engine's image, which is read in the order in which the engine saves it. */
export type SavedSource = {
  readonly access: "save";
  readonly origin: ImageOrigin;
  readonly image: EngineImage;
  readonly engine: Engine;
  /** The reason why the image is not read from the engine's storage. For debugging. */
  readonly whySaved: string;
  /** Has the engine save the image. Throws `ENGINE_FAILED`. @param onProgress receives the number of saved bytes */
  save(onProgress: (doneBytes: number) => void): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /**
   * Has the engine save the image, and reads its parts. Each call is one more save. Throws `ENGINE_FAILED`, and the errors of
   * `readSavedStream`.
   */
  read(onProgress: (doneBytes: number) => void): AsyncGenerator<SavedPart>;
};

/** Selects the content to push of a source with several images or platforms. */
export type SourceChoice = ImageChoice & PlatformChoice;

export type SourceOptions = SourceChoice & {
  /** A path, an image's name in the engine, or a stream. */
  readonly source: string | SourceStream;
  /** Environment variables of the engines' commands. */
  readonly engineEnvironment: Environment;
  /** The command line that reads rootless Podman's storage in its user namespace. @default Podman saves the image */
  readonly storageReader?: readonly string[] | undefined;
  /** The only engine to ask. @default the first that has the image */
  readonly runtime?: Runtime | undefined;
  readonly signal: AbortSignal;
};

/** Disposes of nothing, for sources that open files only to read them. */
export const NOTHING_TO_CLOSE: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };
