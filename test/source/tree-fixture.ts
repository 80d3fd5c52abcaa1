/** Indexes, attestations and artifacts, in the forms in which BuildKit, skopeo, cosign and ORAS write them. */
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { parseDigest } from "../../src/oci/digest.ts";
import { contentReader } from "../../src/source/files/content.ts";
import {
  blobOf,
  type FixtureBlob,
  type FixtureFiles,
  filesOf,
  fixtureImage,
  hex,
  inMemory,
} from "./image-fixture.ts";

export const LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json";
export const IN_TOTO_TYPE = "application/vnd.in-toto+json";
export const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";

/** A manifest, and the files of all that belongs to it. */
export type FixtureTree = { readonly root: FixtureBlob; readonly files: Record<string, Uint8Array> };

export function descriptorOf({ digest, bytes }: FixtureBlob, mediaType: string, more: object = {}) {
  return { mediaType, digest, size: bytes.length, ...more };
}

export type ManifestParts = {
  readonly configType?: string;
  readonly layerType?: string;
  /** Fields of the manifest. Undefined leaves one out. */
  readonly more?: object;
};

export function manifestOf(
  config: string,
  layers: readonly Uint8Array[],
  { configType = MEDIA_TYPE.config, layerType = MEDIA_TYPE.layer.gzip, more = {} }: ManifestParts = {},
): FixtureTree & { readonly layers: readonly FixtureBlob[] } {
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
  return { root, layers: blobs, files: filesOf([configBlob, ...blobs, root]) };
}

/** An image of Linux whose layers are compressed. Equal seeds are equal layers, for every architecture. */
export function platformImage(architecture: string, seeds: readonly number[], more: object = {}) {
  const { config, layers, diffIds } = fixtureImage(...seeds);
  const packed = layers.map((layer) => Bun.gzipSync(layer));
  const ofPlatform = config.replace("amd64", architecture);
  const tree = manifestOf(ofPlatform, packed, { more });
  return { ...tree, diffIds, configHex: hex(ofPlatform), entry: platformEntry(tree.root, architecture) };
}

export function platformEntry(root: FixtureBlob, architecture: string) {
  return descriptorOf(root, MEDIA_TYPE.manifest, { platform: { os: "linux", architecture } });
}

/** BuildKit's provenance of an image. */
export function attestationOf(about: FixtureBlob) {
  const statement = JSON.stringify({ _type: "https://in-toto.io/Statement/v0.1", subject: about.digest });
  const tree = manifestOf(fixtureImage().config, [Buffer.from(statement)], { layerType: IN_TOTO_TYPE });
  const entry = descriptorOf(tree.root, MEDIA_TYPE.manifest, {
    annotations: {
      "vnd.docker.reference.digest": about.digest,
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

/** Reads a manifest of files, and whatever belongs to it. */
export async function readTree(files: FixtureFiles, { digest }: Pick<FixtureBlob, "digest">) {
  const content = await contentReader(inMemory(files)).read(parseDigest(digest, "a test"));
  if (content.kind === "missing") throw new Error(`The fixture lacks ${content.path}.`);
  return content;
}
