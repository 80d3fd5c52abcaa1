import { type Content, imagesOf } from "../oci/content.ts";
import { bestNamed } from "../oci/image-name.ts";
import { contentReader } from "./files/content.ts";
import { type ArchivedImage, readDockerArchive } from "./files/docker-archive.ts";
import type { ImageFiles } from "./files/image-files.ts";
import { withoutImage } from "./files/not-image.ts";
import { type Layout, readOciLayout } from "./files/oci-layout.ts";
import { readSkopeoFolder } from "./files/skopeo-folder.ts";
import type { Candidate } from "./select-image.ts";

/**
 * Lists the images of an archive or folder, and their referrers. Engines write `manifest.json` and an OCI layout side by
 * side: `manifest.json` lists the images, and the layout has their manifests. Throws `SOURCE_NOT_IMAGE` without either.
 */
export async function listImages(files: ImageFiles): Promise<Layout> {
  const folder = await readSkopeoFolder(files);
  if (folder !== undefined) return { candidates: folder, referrers: [] };
  const archived = await readDockerArchive(files);
  const layout = await readOciLayout(files, contentReader(files));
  if (archived === undefined && layout === undefined) throw await withoutImage(files);
  if (archived === undefined) return layout as Layout;
  const { candidates = [], referrers = [] } = layout ?? {};
  return { candidates: archived.map((image) => withManifest(image, candidates)), referrers };
}

/** Makes an image of `manifest.json` read its manifest or index from the layout beside it, if it is there. */
function withManifest(archived: ArchivedImage, listed: readonly Candidate[]): Candidate {
  // Equal images may have several manifests.
  const named = bestNamed(listed, archived.names);
  const [own] = named.length === 1 ? named : [];
  return {
    ...archived,
    digests: [...new Set([...(own?.digests ?? []), ...archived.digests])],
    async read() {
      for (const candidate of named.length > 0 ? named : listed) {
        const content = await candidate.read();
        if (content.kind !== "missing" && isOwn(content, archived)) return content;
      }
      return archived.read();
    },
  };
}

/**
 * Tells whether a manifest is the image's original one. Classic stores have none: for the archive, engines create one whose
 * layers are all uncompressed.
 */
function isOwn(content: Content, { configPath }: ArchivedImage): boolean {
  const image = imagesOf(content).find(({ config }) =>
    configPath.includes(config.descriptor.digest.slice("sha256:".length)),
  );
  if (image === undefined) return false;
  return content.kind === "index" || image.layers.some(({ compression }) => compression !== "none");
}
