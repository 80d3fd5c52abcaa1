/** Images for tests, made blob by blob. The same seeds make the same image. image-forms.ts writes them as programs do. */
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { seededBytes } from "./seeded-bytes.ts";
import { tarBytes } from "./tar-fixture.ts";

export const LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json";
export const IN_TOTO_TYPE = "application/vnd.in-toto+json";
export const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";

type Bytes = Uint8Array<ArrayBuffer>;

export type FixtureBlob = {
  readonly digest: string;
  /** Where an OCI layout has it. */
  readonly path: string;
  readonly bytes: Bytes;
};

/** The layer's tar, or what stands for it; `packed` is how it lies in an archive, where that differs. */
export type FixtureLayer = Bytes | { readonly raw: Bytes; readonly packed: Bytes };

export type FixtureImage = {
  readonly config: string;
  readonly configHex: string;
  /** As they lie in an archive, base first. */
  readonly layers: readonly Bytes[];
  readonly diffIds: readonly string[];
};

/** The blobs of a manifest, and `root`, the manifest itself. */
export type FixtureTree = { readonly root: FixtureBlob; readonly files: Record<string, Uint8Array> };

export function blobOf(content: string | Uint8Array): FixtureBlob {
  const bytes = Uint8Array.from(Buffer.from(content));
  const digest = digestOf(bytes);
  return { digest, path: `blobs/sha256/${digest.slice(7)}`, bytes };
}

export function filesOf(blobs: readonly FixtureBlob[]): Record<string, Uint8Array> {
  return Object.fromEntries(blobs.map(({ path, bytes }) => [path, bytes]));
}

export function hex(content: string | Uint8Array): string {
  return blobOf(content).digest.slice(7);
}

export function descriptorOf({ digest, bytes }: FixtureBlob, mediaType?: string, more: object = {}) {
  return { mediaType, digest, size: bytes.length, ...more };
}

/** A layer of one file. */
export function layerOf(path: string, content: string | Uint8Array): Bytes {
  return new Uint8Array(tarBytes([{ path, body: content }]));
}

/** A layer that hardly compresses. */
export function seededLayer(fileBytes: number, seed: number | string): Bytes {
  return layerOf(`file-${seed}`, seededBytes(fileBytes, seed));
}

export function imageOf(layers: readonly FixtureLayer[], platform = "linux/amd64"): FixtureImage {
  const diffIds = layers.map((layer) => digestOf("raw" in layer ? layer.raw : layer));
  const [os, architecture] = platform.split("/");
  const history = [...layers.map(() => ({ created_by: "COPY" })), { created_by: "CMD", empty_layer: true }];
  // Not what any serializer would write: its bytes have to survive as they are.
  const config = `{ "architecture":"${architecture}", "os":"${os}",\n "author":"Zoë 🐢",
 "config":{"Env":["A=b"],"Cmd":["/none"]}, "rootfs":${JSON.stringify({ type: "layers", diff_ids: diffIds })},
 "history":${JSON.stringify(history)} }`;
  const packed = layers.map((layer) => ("raw" in layer ? layer.packed : layer));
  return { config, configHex: hex(config), layers: packed, diffIds };
}

/** An image of small layers, one for each seed. */
export function fixtureImage(...seeds: number[]): FixtureImage {
  return imageOf(seeds.map((seed) => seededLayer(3000, seed)));
}

type ManifestParts = {
  /** Undefined writes none. */
  readonly configType?: string | undefined;
  readonly layerType?: string | undefined;
  /** Fields of the manifest. Undefined leaves one out. */
  readonly more?: object;
};

export function manifestOf(config: string, layers: readonly Uint8Array[], parts: ManifestParts = {}) {
  const { configType, layerType, more } = {
    configType: MEDIA_TYPE.config,
    layerType: MEDIA_TYPE.layer.gzip,
    ...parts,
  };
  const configBlob = blobOf(config);
  const blobs = layers.map(blobOf);
  const root = blobOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.manifest,
      config: descriptorOf(configBlob, configType),
      layers: blobs.map((blob) => descriptorOf(blob, layerType)),
      ...more,
    }),
  );
  return { root, config: configBlob, layers: blobs, files: filesOf([configBlob, ...blobs, root]) };
}

/** An image's manifest that names no types, unless one for the layers. `pack` compresses a layer. */
export function untypedManifest(
  { config, layers }: FixtureImage,
  pack: (layer: Bytes) => Uint8Array = (layer) => layer,
  layerType?: string,
) {
  return manifestOf(
    config,
    layers.map((layer) => pack(layer)),
    {
      configType: undefined,
      layerType,
      more: { mediaType: undefined },
    },
  );
}

/** An image of Linux whose layers are compressed. Equal seeds are equal layers, for every architecture. */
export function platformImage(architecture: string, seeds: readonly number[], more: object = {}) {
  const layers = seeds.map((seed) => seededLayer(3000, seed));
  const { config, configHex, diffIds } = imageOf(layers, `linux/${architecture}`);
  const packed = layers.map((layer) => Bun.gzipSync(layer));
  const tree = manifestOf(config, packed, { more });
  return { ...tree, diffIds, configHex, entry: platformEntry(tree.root, architecture) };
}

export function platformEntry(root: FixtureBlob, architecture: string) {
  return descriptorOf(root, MEDIA_TYPE.manifest, { platform: { os: "linux", architecture } });
}

/** BuildKit's provenance of an image. */
export function attestationOf({ digest }: Pick<FixtureBlob, "digest">) {
  const statement = blobOf(JSON.stringify({ _type: "https://in-toto.io/Statement/v0.1", subject: digest }));
  const { config, layers } = imageOf([statement.bytes], "unknown/unknown");
  const tree = manifestOf(config, layers, { layerType: IN_TOTO_TYPE });
  const entry = descriptorOf(tree.root, MEDIA_TYPE.manifest, {
    annotations: {
      "vnd.docker.reference.digest": digest,
      "vnd.docker.reference.type": "attestation-manifest",
    },
    platform: { os: "unknown", architecture: "unknown" },
  });
  return { ...tree, entry };
}

export function indexOf(entries: readonly object[], more: object = {}): FixtureBlob {
  return blobOf(
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.index, ...more, manifests: entries }, null, 1),
  );
}

/** Two platforms, and BuildKit's attestation about each. */
export function multiPlatform() {
  const amd64 = platformImage("amd64", [1, 2]);
  const arm64 = platformImage("arm64", [1, 3]);
  const aboutAmd64 = attestationOf(amd64.root);
  const aboutArm64 = attestationOf(arm64.root);
  const parts = [amd64, arm64, aboutAmd64, aboutArm64];
  const root = indexOf(parts.map(({ entry }) => entry));
  const files = Object.assign(filesOf([root]), ...parts.map((part) => part.files)) as FixtureTree["files"];
  return { root, files, amd64, arm64, aboutAmd64, aboutArm64 };
}
