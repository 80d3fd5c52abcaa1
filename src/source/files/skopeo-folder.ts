import { fileError } from "../../errors.ts";
import { digestInPath, digestOf, hexOf } from "../../oci/digest.ts";
import type { Candidate } from "../select-image.ts";
import { contentReader } from "./content.ts";
import { type ImageFiles, readDocument } from "./image-files.ts";

const VERSION = "Directory Transport Version:";

/**
 * Lists the image in a folder of skopeo's `dir:` or `podman save --format docker-dir`: one manifest or index, and blobs
 * named by their hex digests. Undefined for any other folder.
 * https://github.com/containers/image/blob/v5.36.2/directory/directory_transport.go
 */
export async function readSkopeoFolder(files: ImageFiles): Promise<Candidate[] | undefined> {
  const version = await files.open("version");
  const start = await version
    ?.slice(0, 100)
    .text()
    .catch((cause: unknown) => {
      throw fileError(cause, `read "version" in the ${files.title}`);
    });
  if (!start?.startsWith(VERSION)) return undefined;
  const bytes = await readDocument(files, "manifest.json");
  const root = digestOf(bytes);
  const named: ImageFiles = {
    title: files.title,
    async open(path) {
      const digest = digestInPath(path);
      if (digest === undefined) return undefined;
      if (digest === root) return new Blob([bytes]);
      // Manifests that an index lists have this suffix.
      return (await files.open(hexOf(digest))) ?? files.open(`${hexOf(digest)}.manifest.json`);
    },
  };
  const reader = contentReader(named);
  return [{ names: [], digests: [root], platform: undefined, read: () => reader.read(root) }];
}
