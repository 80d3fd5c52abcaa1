/** Small images of many kinds, built by an engine or loaded into it. */

import { join } from "node:path";
import * as v from "valibot";
import { runWell } from "../support/command.ts";
import { layerOf, seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import type { Engine } from "./engines.ts";
import { unpackSavedImage } from "./saved-image.ts";

const LARGE_BYTES = 2_000_000;

const LAYERS = {
  small: layerOf("etc/hello", "hello\n"),
  large: seededLayer(LARGE_BYTES, "large"),
  // gzip and zstd make less of it, so that a compressed layer differs from its raw one.
  lines: layerOf("data/lines", "every line is the same\n".repeat(2000)),
  empty: tarBytes([]),
} as const;

/** Builds an image of these layers, base first, and names it. */
export async function buildImage(
  engine: Engine,
  name: string,
  layers: readonly (keyof typeof LAYERS)[],
  flags: readonly string[] = ["--tag", name],
): Promise<void> {
  await using context = await temporaryFolder(engine.folder);
  const lines = layers.map((layer) => `ADD ${layer}.tar /\n`).join("");
  for (const layer of layers) await Bun.write(join(context.path, `${layer}.tar`), LAYERS[layer]);
  // The label makes each image another one, and its config has what some writers of JSON would escape.
  await Bun.write(join(context.path, "Dockerfile"), `FROM scratch\n${lines}LABEL title="${name} <a> & b"\n`);
  await engine.build(context.path, ...flags);
}

/** Builds an image of so many layers with BuildKit. The older builders take their time for each. */
export async function buildImageOfManyLayers(engine: Engine, name: string, count: number): Promise<void> {
  await using context = await temporaryFolder(engine.folder);
  const contents = smallFiles(count);
  for (const [i, content] of contents.entries()) await Bun.write(join(context.path, `${i}`), content);
  const lines = contents.map((_, i) => `COPY ${i} /many/\n`).join("");
  await Bun.write(join(context.path, "Dockerfile"), `FROM scratch\n${lines}`);
  await engine.build(context.path, "--tag", name);
}

/** The content of files that differ, one for each layer. */
export function smallFiles(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => new TextEncoder().encode(`file ${i}\n`));
}

/** Loads an archive whose layers are not compressed, as older engines save it. */
export async function loadImage(engine: Engine, name: string, files: readonly Uint8Array[]): Promise<void> {
  await using folder = await temporaryFolder(engine.folder);
  const archive = join(folder.path, "image.tar");
  const layers = files.map((content, i) => layerOf(`data/${i}.bin`, content));
  await Bun.write(archive, dockerArchive(layers, [name]).archive);
  await engine.docker("load", "--input", archive);
}

const INSPECTED = v.strictTuple([
  v.object({
    Id: v.string(),
    RootFS: v.object({ Layers: v.array(v.string()) }),
    /** `repository@sha256:…`, as far as the engine knows any. */
    RepoDigests: v.fallback(v.array(v.string()), []),
  }),
]);

/** What an engine says of an image: the config's bytes by saving it, the rest by inspecting it. */
export async function describeImage(engine: Engine, name: string) {
  await using folder = await temporaryFolder(engine.folder);
  const archive = join(folder.path, "saved.tar");
  await engine.docker("image", "save", "--output", archive, name);
  const { config } = await unpackSavedImage(archive, join(folder.path, "saved"));
  const [image] = v.parse(INSPECTED, JSON.parse(await engine.docker("image", "inspect", name)));
  return {
    config,
    hex: image.Id.replace("sha256:", ""),
    diffIds: image.RootFS.Layers,
    digests: image.RepoDigests,
  };
}

/** The media types of an image's layers as the engine itself writes them. */
export async function savedLayerTypes(engine: Engine, name: string): Promise<string[]> {
  await using folder = await temporaryFolder(engine.folder);
  const archive = join(folder.path, "saved.tar");
  await engine.docker("image", "save", "--output", archive, name);
  const read = async (path: string) => JSON.parse(await runWell(["tar", "-xOf", archive, path]));
  const index = await read("index.json");
  const { layers } = await read(`blobs/sha256/${index.manifests[0].digest.slice("sha256:".length)}`);
  return layers.map(({ mediaType }: { mediaType: string }) => mediaType);
}
