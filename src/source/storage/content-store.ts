import { closeSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { PushError } from "../../errors.ts";
import { blobPath, type Digest, digestInPath } from "../../oci/digest.ts";
import type { ImageFiles } from "../files/image-files.ts";
import type { EngineInfo } from "./engine-info.ts";
import { openSafeFolder } from "./safe-open.ts";
import { unusable } from "./stored-image.ts";

/** The root of the system's containerd, and that of Docker's own containerd below Docker's root. */
const SYSTEM_ROOT = "/var/lib/containerd";
const OWN_ROOT = "containerd/daemon";

/**
 * Opens the content store of a Docker engine's containerd, which has the blobs of an OCI layout, but no `index.json`.
 * Throws `IMAGE_INVALID` if no store has the image.
 *
 * https://github.com/containerd/containerd/blob/v2.1.4/docs/content-flow.md
 *
 * @param id the digest of the image's index or manifest
 */
export async function openContentStore(id: Digest, { root, containerd }: EngineInfo): Promise<ImageFiles> {
  const roots = [...(isAbsolute(root) ? [join(root, OWN_ROOT)] : []), SYSTEM_ROOT];
  // Docker's own containerd has its socket elsewhere. The other store may have a part of the image.
  if (/^(?:\/var)?\/run\/containerd\//.test(containerd ?? "")) roots.reverse();
  for (const each of roots) {
    const files = openStore(join(each, "io.containerd.content.v1.content"));
    if ((await files.open(blobPath(id))) !== undefined) return files;
  }
  throw unusable(`${id} is in no content store (looked in ${roots.join(" and ")})`);
}

/** Opens a store, of which only blobs can be read. */
function openStore(root: string): ImageFiles {
  return {
    title: `content store "${root}"`,
    async open(path) {
      const digest = digestInPath(path);
      if (digest === undefined) return undefined;
      const sizeBytes = sizeOfFile(root, path);
      return sizeBytes === undefined ? undefined : Bun.file(join(root, path)).slice(0, sizeBytes);
    },
  };
}

/** Returns a file's size. Undefined if the file is missing, or behind a link. */
function sizeOfFile(root: string, path: string): number | undefined {
  try {
    using folder = openSafeFolder(root);
    const { fd, sizeBytes } = folder.openFile(path);
    closeSync(fd);
    return sizeBytes;
  } catch (error) {
    if (error instanceof PushError) return undefined;
    throw error;
  }
}
