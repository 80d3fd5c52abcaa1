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
  /** Raw layers, which are assembled from their files. */
  | ({ readonly kind: "layers" } & StoredImage & AsyncDisposable)
  /** Blobs as in registries. `root` is the digest of the image's index or manifest. */
  | { readonly kind: "content"; readonly files: ImageFiles; readonly root: Digest }
  /** The image has to be saved. The reason is a sentence for `--debug`. */
  | { readonly kind: "none"; readonly reason: string };

/** Only root may read all files of images. */
const isRoot = process.platform === "linux" && process.geteuid?.() === 0;

/** Asks an engine where it keeps its images, while others are still asked for the image. */
export function askEarly(engine: Engine): Promise<EngineInfo> | undefined {
  const asked = isRoot ? readEngineInfo(engine) : undefined;
  // It is awaited later, or never.
  asked?.catch(() => undefined);
  return asked;
}

export type StorageOptions = {
  /** The command line that reads rootless Podman's storage in its user namespace. */
  readonly reader?: readonly string[] | undefined;
  /** The engine's answer to an early question. @default the engine is asked */
  readonly info?: Promise<EngineInfo> | undefined;
};

/**
 * Opens an image in the engine's storage, read-only and without a save. Verifies only the config: the caller verifies
 * layers and blobs. Throws the signal's reason and `INTERRUPTED`.
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
    // Whatever is wrong here, a save may work.
    if (error instanceof PushError && error.code !== "INTERRUPTED") return none(error.message);
    throw error;
  }
}

function none(reason: string): Storage {
  return { kind: "none", reason };
}
