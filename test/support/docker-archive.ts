import { digestOf, hexOf } from "../../src/oci/digest.ts";
import { type FixtureMember, tarBytes } from "./tar-fixture.ts";

export type TestLayer = {
  /** The layer's tar, or what stands for it. */
  readonly raw: Uint8Array<ArrayBuffer>;
  /** How it lies in the archive. @default as it is */
  readonly packed?: Uint8Array<ArrayBuffer>;
  /** Its name in the archive. @default `<number>/layer.tar` */
  readonly path?: string;
};

export type TestImage = {
  readonly config: Uint8Array<ArrayBuffer>;
  readonly diffIds: readonly string[];
  /** What docker save would write. */
  readonly archive: Buffer;
};

/** An image as the older engines save it. */
export function dockerArchive(layers: readonly TestLayer[], names: readonly string[] = []): TestImage {
  const diffIds = layers.map(({ raw }) => digestOf(raw) as string);
  const config = new TextEncoder().encode(
    // Not what any serializer would write: its bytes have to survive as they are.
    `{ "architecture":"amd64", "os":"linux",\n "rootfs":{"type":"layers","diff_ids":${JSON.stringify(diffIds)}},"ü":"é" }`,
  );
  const configPath = `${hexOf(digestOf(config))}.json`;
  const paths = layers.map(({ path }, i) => path ?? `${i}/layer.tar`);
  const manifest = [{ Config: configPath, RepoTags: names, Layers: paths }];
  const members = new Map<string, FixtureMember>();
  for (const [i, { raw, packed }] of layers.entries()) {
    const path = paths[i] ?? "";
    members.set(path, { path, body: packed ?? raw });
  }
  const archive = tarBytes([
    ...members.values(),
    { path: configPath, body: config },
    { path: "manifest.json", body: JSON.stringify(manifest) },
  ]);
  return { config, diffIds, archive };
}
