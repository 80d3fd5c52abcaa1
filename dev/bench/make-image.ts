import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { type LayerMix, makeLayer, paddingOf, tarEnd, tarHeader } from "./make-layer.ts";

/** An image's five layers: their share of its bytes, and what is in them. 7 % of all does not compress. */
const LAYERS: readonly { readonly name: string; readonly share: number; readonly mix: LayerMix }[] = [
  { name: "base", share: 0.2, mix: { program: 0.62, source: 0.12, prose: 0.2, packed: 0.06 } },
  { name: "libraries", share: 0.36, mix: { program: 0.88, source: 0.06, prose: 0.01, packed: 0.05 } },
  { name: "programs", share: 0.22, mix: { program: 0.8, source: 0.05, prose: 0.05, packed: 0.1 } },
  { name: "packages", share: 0.2, mix: { program: 0.4, source: 0.42, prose: 0.1, packed: 0.08 } },
  { name: "app", share: 0.02, mix: { program: 0.3, source: 0.5, prose: 0.1, packed: 0.1 } },
];

export type ImageOptions = {
  /** Of all layers together. */
  readonly bytes: number;
  /** The tag in the archive. */
  readonly tag: string;
  /** What the small last layer is made of: two images that differ in it share all others. */
  readonly app: string;
};

/** Writes what `docker save` would: an archive of raw layers. It has its name when it is whole. */
export async function makeImage(path: string, options: ImageOptions): Promise<void> {
  await writeWhole(path, async (file) => {
    const diffIds: string[] = [];
    for (const { name, share, mix } of LAYERS) {
      const bytes = Math.max(4, Math.round((options.bytes * share) / 512)) * 512;
      const hasher = createHash("sha256");
      await file.appendFile(tarHeader(`${name}/layer.tar`, bytes));
      const seed = name === "app" ? `${name} ${options.app}` : name;
      for (const piece of makeLayer(seed, bytes, mix)) {
        hasher.update(piece);
        await file.appendFile(piece);
      }
      diffIds.push(`sha256:${hasher.digest("hex")}`);
    }
    const config = JSON.stringify(imageConfig(diffIds));
    const configPath = `${createHash("sha256").update(config).digest("hex")}.json`;
    const layers = LAYERS.map(({ name }) => `${name}/layer.tar`);
    await appendMember(file, configPath, config);
    await appendMember(
      file,
      "manifest.json",
      JSON.stringify([{ Config: configPath, RepoTags: [`bench/app:${options.tag}`], Layers: layers }]),
    );
    await file.appendFile(tarEnd());
  });
}

function imageConfig(diffIds: readonly string[]) {
  return {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["/opt/program/1/1"] },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: LAYERS.map(({ name }) => ({ created: "1970-01-01T00:00:00Z", created_by: `COPY ${name} /` })),
  };
}

async function appendMember(file: FileHandle, path: string, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (const part of [tarHeader(path, bytes.length), bytes, paddingOf(bytes.length)])
    await file.appendFile(part);
}

/** Writes a file beside its final place, and moves it there when all went well. */
export async function writeWhole(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.part`;
  const file = await open(partial, "w");
  try {
    await write(file);
  } finally {
    await file.close();
  }
  await rename(partial, path);
}
