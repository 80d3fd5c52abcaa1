import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "tar";

/** A layer to make: the files that it holds. */
export type LayerFiles = Readonly<Record<string, Uint8Array | string>>;

export type MadeImage = {
  /** The archive, as `docker save` writes it. */
  readonly archivePath: string;
  readonly configDigest: string;
  readonly diffIds: readonly string[];
};

/** Writes an image into an archive such as `docker save` makes, without an engine. */
export async function makeImage(
  folder: string,
  name: string,
  layers: readonly LayerFiles[],
): Promise<MadeImage> {
  const imageFolder = join(folder, "image");
  const diffIds: string[] = [];
  const layerPaths: string[] = [];
  for (const [i, files] of layers.entries()) {
    const layerPath = `layer-${i + 1}/layer.tar`;
    const tar = await makeLayer(join(folder, `files-${i + 1}`), files, join(imageFolder, layerPath));
    diffIds.push(sha256(tar));
    layerPaths.push(layerPath);
  }
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/hello"] },
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  const configDigest = sha256(config);
  const configPath = `${configDigest.slice("sha256:".length)}.json`;
  await writeFile(join(imageFolder, configPath), config);
  await writeFile(
    join(imageFolder, "manifest.json"),
    JSON.stringify([{ Config: configPath, RepoTags: [name], Layers: layerPaths }]),
  );
  const archivePath = join(folder, "output.tar");
  await create({ file: archivePath, cwd: imageFolder, portable: true }, [
    ...layerPaths,
    configPath,
    "manifest.json",
  ]);
  return { archivePath, configDigest, diffIds };
}

async function makeLayer(folder: string, files: LayerFiles, tarPath: string): Promise<Uint8Array> {
  await mkdir(folder, { recursive: true });
  await mkdir(join(tarPath, ".."), { recursive: true });
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await create({ file: tarPath, cwd: folder, portable: true, noMtime: true }, Object.keys(files));
  return Bun.file(tarPath).bytes();
}

function sha256(content: Uint8Array | string): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(content).digest("hex")}`;
}
