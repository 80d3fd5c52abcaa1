/** One small image, and the forms in which engines save it. */
import { mkdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Content } from "../../src/oci/content.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { Image } from "../../src/oci/image.ts";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import type { Missing } from "../../src/source/files/content.ts";
import { openFolderFiles } from "../../src/source/files/folder.ts";
import type { ImageFiles } from "../../src/source/files/image-files.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type FixtureMember, tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** Files by name. What begins with `→ ` is a symlink to what follows. */
export type FixtureFiles = Readonly<Record<string, string | Uint8Array>>;

export type FixtureImage = {
  readonly config: string;
  readonly configHex: string;
  /** Raw, base first. */
  readonly layers: readonly Uint8Array<ArrayBuffer>[];
  readonly diffIds: readonly string[];
};

export type FixtureBlob = {
  readonly digest: string;
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

/** An image whose layers are tar archives of their own. The same seeds make the same image. */
export function fixtureImage(...seeds: number[]): FixtureImage {
  const layers = seeds.map((seed) =>
    Uint8Array.from(tarBytes([{ path: `file-${seed}`, body: seededBytes(3000, seed) }])),
  );
  const diffIds = layers.map(digestOf);
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    author: "Zoë 🐢",
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  return { config, configHex: hex(config), layers, diffIds };
}

/** What `docker save` wrote up to engine 24; of equal layers, the later ones are links to the first. */
export function classicFiles(image: FixtureImage, names: readonly string[] | null): FixtureFiles {
  const files: Record<string, string | Uint8Array> = {};
  const paths = image.layers.map((layer, i) => {
    const folder = hex(`v1 id ${i} ${image.configHex}`);
    const first = image.diffIds.indexOf(image.diffIds[i] ?? "");
    files[`${folder}/VERSION`] = "1.0";
    files[`${folder}/json`] = "{}";
    files[`${folder}/layer.tar`] =
      first === i ? layer : `→ ../${hex(`v1 id ${first} ${image.configHex}`)}/layer.tar`;
    return `${folder}/layer.tar`;
  });
  files[`${image.configHex}.json`] = image.config;
  files["repositories"] = "{}";
  files["manifest.json"] = JSON.stringify([
    { Config: `${image.configHex}.json`, RepoTags: names, Layers: paths },
  ]);
  return files;
}

/** What podman and skopeo write as a docker-archive. */
export function podmanFiles(image: FixtureImage, names: readonly string[]): FixtureFiles {
  const files: Record<string, string | Uint8Array> = {};
  const paths = image.layers.map((layer, i) => {
    const file = `${image.diffIds[i]?.slice(7)}.tar`;
    files[file] = layer;
    files[`${hex(`v1 id ${i}`)}/layer.tar`] = `→ ../${file}`;
    return file;
  });
  files[`${image.configHex}.json`] = image.config;
  files["manifest.json"] = JSON.stringify([
    { Config: `${image.configHex}.json`, RepoTags: names, Layers: paths },
  ]);
  return files;
}

/** An OCI layout, without the blobs themselves. */
export function layoutFiles(manifests: readonly unknown[]): Record<string, string | Uint8Array> {
  return {
    "oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
    "index.json": JSON.stringify({ schemaVersion: 2, manifests }),
  };
}

/** The blobs of an image in an OCI layout. `pack` compresses a layer, or leaves it as it is. */
export function imageBlobs(
  image: FixtureImage,
  pack: (layer: Uint8Array<ArrayBuffer>) => Uint8Array = (layer) => layer,
  mediaType?: string,
) {
  const config = blobOf(image.config);
  const layers = image.layers.map((layer) => blobOf(pack(layer)));
  const manifest = blobOf(
    JSON.stringify({
      schemaVersion: 2,
      config: { digest: config.digest, size: config.bytes.length },
      layers: layers.map(({ digest, bytes }) => ({ mediaType, digest, size: bytes.length })),
    }),
  );
  return { config, layers, manifest, files: filesOf([config, ...layers, manifest]) };
}

export function blobOf(content: string | Uint8Array): FixtureBlob {
  const bytes = Uint8Array.from(Buffer.from(content));
  const digest = digestOf(bytes);
  return { digest, path: `blobs/sha256/${digest.slice(7)}`, bytes };
}

export function filesOf(blobs: readonly FixtureBlob[]): Record<string, Uint8Array> {
  return Object.fromEntries(blobs.map(({ path, bytes }) => [path, bytes]));
}

export function hex(content: string | Uint8Array): string {
  return digestOf(new Uint8Array(Buffer.from(content))).slice(7);
}

export function archiveBytes(files: FixtureFiles): Buffer<ArrayBuffer> {
  return tarBytes(
    Object.entries(files).map(([path, content]): FixtureMember => {
      const target = linkTarget(content);
      return target === undefined ? { path, body: content } : { path, flag: "2", linkpath: target };
    }),
  );
}

export async function writeFolder(folder: string, files: FixtureFiles): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    const target = linkTarget(content);
    if (target === undefined) await Bun.write(path, content);
    else await symlink(target, path);
  }
}

export const FORMS = ["archive", "folder"] as const;

/** The files as those of an archive or folder are opened. */
export function inMemory(files: FixtureFiles): ImageFiles {
  const contents = new Map(
    Object.entries(files).map(([name, content]) => [name, new Blob([new Uint8Array(Buffer.from(content))])]),
  );
  return { title: "image", open: async (name) => contents.get(name) };
}

/** What was read, which is one image. */
export function onlyImage(content: Content | Missing | undefined): Image {
  if (content?.kind === "image") return content;
  throw new Error(`There is ${content === undefined ? "nothing" : JSON.stringify(content)} and no image.`);
}

/** The files opened as they would be from the disk, in an archive or in a folder. */
export async function openFixture(
  form: (typeof FORMS)[number],
  files: FixtureFiles,
): Promise<AsyncDisposable & { readonly files: ImageFiles }> {
  const folder = await temporaryFolder();
  const path = join(folder.path, "fixture");
  if (form === "archive") await Bun.write(path, archiveBytes(files));
  else await writeFolder(path, files);
  const title = `${form} "fixture"`;
  return {
    files: await (form === "archive" ? openArchiveFiles(path, title) : openFolderFiles(path, title)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

function linkTarget(content: string | Uint8Array): string | undefined {
  return typeof content === "string" && content.startsWith("→ ") ? content.slice(2) : undefined;
}
