/** Images made without an engine: the archive that `docker save` would write. */
import { Header } from "tar";
import { sha256 } from "./sha256.ts";

const BLOCK_BYTES = 512;

export type HandmadeImage = {
  readonly archive: Uint8Array<ArrayBuffer>;
  readonly config: Uint8Array<ArrayBuffer>;
  readonly diffIds: readonly string[];
};

/** @param files the content of the one file that each layer has */
export function handmadeImage(name: string, files: readonly Uint8Array[]): HandmadeImage {
  const layers = files.map((content, i) => tarOf([{ path: `data/${i}.bin`, content }]));
  const diffIds = layers.map(sha256);
  const config = new TextEncoder().encode(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Env: ["A=b"], Cmd: ["/data/0.bin"] },
      rootfs: { type: "layers", diff_ids: diffIds },
      history: [...layers.map(() => ({ created_by: "COPY" })), { created_by: "CMD", empty_layer: true }],
    }),
  );
  const configPath = `${sha256(config).slice("sha256:".length)}.json`;
  const manifest = [
    {
      Config: configPath,
      RepoTags: [name],
      // Go's way to write an empty list.
      Layers: layers.length === 0 ? null : layers.map((_, i) => `${i}/layer.tar`),
    },
  ];
  const archive = tarOf([
    ...layers.map((content, i) => ({ path: `${i}/layer.tar`, content })),
    { path: configPath, content: config },
    { path: "manifest.json", content: new TextEncoder().encode(JSON.stringify(manifest)) },
  ]);
  return { archive, config, diffIds };
}

export function tarOf(files: readonly { readonly path: string; readonly content: Uint8Array }[]) {
  const pieces = files.flatMap(({ path, content }) => {
    const header = Buffer.alloc(BLOCK_BYTES);
    new Header({
      path,
      size: content.length,
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: new Date(0),
      type: "File",
    }).encode(header);
    return [header, content, Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES)];
  });
  return new Uint8Array(Buffer.concat([...pieces, Buffer.alloc(2 * BLOCK_BYTES)]));
}
