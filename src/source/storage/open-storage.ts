import { PushError } from "../../errors.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineImage } from "../engine/inspect.ts";
import type { ImageFiles } from "../files/image-files.ts";
import { openContentStore } from "./content-store.ts";
import { openDockerImage } from "./docker-storage.ts";
import { readEngineInfo } from "./engine-info.ts";
import { openPodmanImage } from "./podman-storage.ts";
import type { StoredImage } from "./stored-image.ts";

/** An image in the engine's own storage. */
export type Storage =
  /** Raw layers, put together from their files. */
  | ({ readonly kind: "layers" } & StoredImage)
  /** Blobs as registries have them. `root` is the digest of the image's index or manifest. */
  | { readonly kind: "content"; readonly files: ImageFiles; readonly root: Digest }
  /** The image has to be saved. The reason is a sentence for `--debug`. */
  | { readonly kind: "none"; readonly reason: string };

/**
 * Opens an engine's image where it lies, without the engine. Reads only. Verifies the config alone: the caller compares
 * layers with their diffIDs, and blobs with their digests. Throws the signal's reason and `INTERRUPTED`.
 */
export async function openStorage(
  image: Pick<EngineImage, "id" | "isContainerd">,
  engine: Engine,
): Promise<Storage> {
  if (process.platform !== "linux") return none("This system is not Linux.");
  // Images have files that only root may read, and a push that fails halfway is no use.
  if (process.geteuid?.() !== 0) return none("Only root may read it.");
  try {
    const info = await readEngineInfo(engine);
    if (image.isContainerd) {
      return { kind: "content", files: await openContentStore(image.id, info), root: image.id };
    }
    const open = info.isPodman ? openPodmanImage : openDockerImage;
    return { kind: "layers", ...(await open(image.id, info, engine.signal)) };
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
