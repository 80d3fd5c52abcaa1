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

/** An opened source, until it is disposed of. `access` says how to read it. */
export type Source = AsyncDisposable & (StoredSource | SavedSource);

/** What a source is before it is read. */
export type OpenedSource = AsyncDisposable & (StoredSource | SavedSource | ArchiveSource);

/** An archive that comes as a stream, in the stream's own order. */
export type ArchiveSource = {
  readonly access: "stream";
  readonly origin: ImageOrigin;
  /** Reads it, once. @param onProgress told at once, and then how many bytes have come, and of how many if that is known */
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
export type SavedSource = {
  readonly access: "save";
  readonly origin: ImageOrigin;
  readonly image: EngineImage;
  readonly engine: Engine;
  /** Why the image is not read where the engine keeps it. For debugging. */
  readonly whySaved: string;
  /** Has the engine save the image, with progress as `read`. Throws `ENGINE_FAILED`. */
  save(onProgress: (doneBytes: number) => void): AsyncIterable<Uint8Array<ArrayBuffer>>;
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
  /** The command line that reads rootless Podman's storage in its user namespace. Undefined: it is not read. */
  readonly storageReader?: readonly string[] | undefined;
  /** The only engine to ask. Default: the first that has the image. */
  readonly runtime?: Runtime | undefined;
  readonly signal: AbortSignal;
};

/** For sources whose files are opened when they are read. */
export const NOTHING_TO_CLOSE: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };
