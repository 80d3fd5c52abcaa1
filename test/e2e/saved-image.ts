/** What an engine saved, and the other forms in which the same image may lie on a disk. */
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { runWell } from "../support/command.ts";
import { sha256 } from "../support/sha256.ts";

const MANIFEST = v.strictTuple([
  v.object({ Config: v.string(), RepoTags: v.array(v.string()), Layers: v.array(v.string()) }),
]);
const CONFIG = v.object({ rootfs: v.object({ diff_ids: v.array(v.string()) }) });

export type SavedImage = {
  readonly archive: string;
  /** The archive, unpacked. */
  readonly folder: string;
  readonly names: readonly string[];
  readonly config: Uint8Array;
  readonly diffIds: readonly string[];
  /** Files below the folder, base first. */
  readonly layerPaths: readonly string[];
};

/** Unpacks an archive of an engine up to 24, and reads what is in it. */
export async function unpackSavedImage(archive: string, folder: string): Promise<SavedImage> {
  await mkdir(folder, { recursive: true });
  await runWell(["tar", "-xf", archive, "-C", folder]);
  const [manifest] = v.parse(MANIFEST, await Bun.file(join(folder, "manifest.json")).json());
  const config = await readFile(join(folder, manifest.Config));
  const { diff_ids } = v.parse(CONFIG, JSON.parse(config.toString("utf8"))).rootfs;
  return {
    archive,
    folder,
    names: manifest.RepoTags,
    config,
    diffIds: diff_ids,
    layerPaths: manifest.Layers,
  };
}

/** Writes an OCI layout with raw layers. With `manifest.json` beside it, that is what engine 25 and later save. */
export async function writeOciLayout(
  image: SavedImage,
  folder: string,
  { withManifestJson }: { readonly withManifestJson: boolean },
): Promise<void> {
  const blobs = join(folder, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const layers = [];
  for (const [i, layerPath] of image.layerPaths.entries()) {
    const file = join(image.folder, layerPath);
    const digest = image.diffIds[i] ?? "";
    await copyFile(file, join(blobs, hexOf(digest)));
    layers.push({ mediaType: "application/vnd.oci.image.layer.v1.tar", digest, size: Bun.file(file).size });
  }
  const config = await addBlob(blobs, image.config, "application/vnd.oci.image.config.v1+json");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifestBytes = new TextEncoder().encode(
    JSON.stringify({ schemaVersion: 2, mediaType, config, layers }),
  );
  const manifest = await addBlob(blobs, manifestBytes, mediaType);
  await Bun.write(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await Bun.write(
    join(folder, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [{ ...manifest, annotations: { "io.containerd.image.name": image.names[0] } }],
    }),
  );
  if (!withManifestJson) return;
  const path = (digest: string) => `blobs/sha256/${hexOf(digest)}`;
  await Bun.write(
    join(folder, "manifest.json"),
    JSON.stringify([{ Config: path(config.digest), RepoTags: image.names, Layers: image.diffIds.map(path) }]),
  );
}

async function addBlob(blobs: string, bytes: Uint8Array, mediaType: string) {
  const digest = sha256(bytes);
  await Bun.write(join(blobs, hexOf(digest)), bytes);
  return { mediaType, digest, size: bytes.length };
}

function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}
