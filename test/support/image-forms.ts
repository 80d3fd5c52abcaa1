/** The forms in which programs write images: docker archives, OCI layouts, in a file or in a folder. */
import { mkdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type FixtureImage, type FixtureLayer, hex, imageOf } from "./image-fixture.ts";
import { type FixtureMember, tarBytes } from "./tar-fixture.ts";

/** Files by name. What begins with `→ ` is a symlink to what follows. */
export type FixtureFiles = Readonly<Record<string, string | Uint8Array>>;

export type ArchivedImage = {
  readonly config: Uint8Array<ArrayBuffer>;
  readonly diffIds: readonly string[];
  /** What docker save would write. */
  readonly archive: Buffer<ArrayBuffer>;
};

/** An image as `docker save` wrote it up to engine 24. */
export function dockerArchive(layers: readonly FixtureLayer[], names: readonly string[] = []): ArchivedImage {
  const image = imageOf(layers);
  const config = new TextEncoder().encode(image.config);
  return { config, diffIds: image.diffIds, archive: archiveBytes(classicFiles(image, names)) };
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
  return { ...files, repositories: "{}", ...archived(image, names, paths) };
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
  return { ...files, ...archived(image, names, paths) };
}

function archived({ config, configHex }: FixtureImage, names: readonly string[] | null, paths: string[]) {
  const configPath = `${configHex}.json`;
  // Go writes an empty list as null.
  const layers = paths.length === 0 ? null : paths;
  const manifest = [{ Config: configPath, RepoTags: names, Layers: layers }];
  return { [configPath]: config, "manifest.json": JSON.stringify(manifest) };
}

/** An OCI layout, without the blobs themselves. */
export function layoutFiles(manifests: readonly unknown[]): Record<string, string | Uint8Array> {
  return {
    "oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
    "index.json": JSON.stringify({ schemaVersion: 2, manifests }),
  };
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

function linkTarget(content: string | Uint8Array): string | undefined {
  return typeof content === "string" && content.startsWith("→ ") ? content.slice(2) : undefined;
}
