import { PushError } from "../../errors.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineImage } from "../engine/inspect.ts";
import type { ImageFiles } from "../files/image-files.ts";
import { NOTHING_TO_CLOSE } from "../source.ts";
import { openContentStore } from "./content-store.ts";
import { openDockerImage } from "./docker-storage.ts";
import { type EngineInfo, readEngineInfo } from "./engine-info.ts";
import { openPodmanImage } from "./podman-storage.ts";
import type { StoredImage } from "./stored-image.ts";
import { openUnshared } from "./unshared.ts";

/** An image in the engine's own storage. */
export type Storage =
  /** Raw layers, put together from their files. */
  | ({ readonly kind: "layers" } & StoredImage & AsyncDisposable)
  /** Blobs as registries have them. `root` is the digest of the image's index or manifest. */
  | { readonly kind: "content"; readonly files: ImageFiles; readonly root: Digest }
  /** The image has to be saved. The reason is a sentence for `--debug`. */
  | { readonly kind: "none"; readonly reason: string };

/** Images have files that only root may read, and a push that fails halfway is no use. */
const isRoot = process.platform === "linux" && process.geteuid?.() === 0;

/** Asks an engine where it keeps its images, before it is known whether it has the image. */
export function askEarly(engine: Engine): Promise<EngineInfo> | undefined {
  const asked = isRoot ? readEngineInfo(engine) : undefined;
  // It is awaited later, or not at all.
  asked?.catch(() => undefined);
  return asked;
}

export type StorageOptions = {
  /** The command line that reads rootless Podman's storage in its user namespace. */
  readonly reader?: readonly string[] | undefined;
  /** What the engine was asked before. @default it is asked */
  readonly info?: Promise<EngineInfo> | undefined;
};

/**
 * Opens an engine's image where it lies, without the engine. Reads only. Verifies the config alone: the caller compares
 * layers with their diffIDs, and blobs with their digests. Throws the signal's reason and `INTERRUPTED`.
 */
export async function openStorage(
  image: Pick<EngineImage, "id" | "isContainerd">,
  engine: Engine,
  { reader, info: asked }: StorageOptions = {},
): Promise<Storage> {
  if (process.platform !== "linux") return none("this system is not Linux.");
  if (!isRoot && (engine.runtime !== "podman" || reader === undefined)) return none("only root can read it.");
  try {
    if (!isRoot && reader !== undefined)
      return { kind: "layers", ...(await openUnshared(image.id, engine, reader)) };
    const info = await (asked ?? readEngineInfo(engine));
    if (image.isContainerd) {
      return { kind: "content", files: await openContentStore(image.id, info), root: image.id };
    }
    const open = info.isPodman ? openPodmanImage : openDockerImage;
    return { kind: "layers", ...(await open(image.id, info, engine.signal)), ...NOTHING_TO_CLOSE };
  } catch (error) {
    engine.signal.throwIfAborted();
    // Saving the image is the better try, whatever is wrong here.
    if (error instanceof PushError && error.code !== "INTERRUPTED") return none(error.message);
    throw error;
  }
}

function none(reason: string): Storage {
  return { kind: "none", reason };
}
