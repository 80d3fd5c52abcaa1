/** All that a registry gives out for a reference, as a tree, every byte checked against the digest that names it. */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import * as v from "valibot";
import { sha256 } from "../support/sha256.ts";

const TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

const ANNOTATIONS = v.nullish(v.record(v.string(), v.string()), {});
const DESCRIPTOR = v.looseObject({
  mediaType: v.string(),
  digest: v.string(),
  size: v.number(),
  annotations: ANNOTATIONS,
  urls: v.optional(v.array(v.string())),
  platform: v.optional(v.looseObject({ os: v.string(), architecture: v.string() })),
});
const INDEX = v.looseObject({ manifests: v.array(DESCRIPTOR), annotations: ANNOTATIONS });
const MANIFEST = v.looseObject({
  config: DESCRIPTOR,
  layers: v.array(DESCRIPTOR),
  annotations: ANNOTATIONS,
});

const CONFIG = v.object({ rootfs: v.object({ diff_ids: v.array(v.string()) }) });

type Descriptor = v.InferOutput<typeof DESCRIPTOR>;

export type RegistryContent = {
  readonly digest: string;
  readonly mediaType: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** Of an index, in its order. */
  readonly children: readonly (RegistryContent & {
    readonly architecture: string | undefined;
    readonly isAttestation: boolean;
  })[];
  /** Of a manifest. */
  readonly config: string | undefined;
  readonly configBytes: Uint8Array | undefined;
  readonly layers: readonly {
    readonly digest: string;
    readonly mediaType: string;
    readonly annotations: Readonly<Record<string, string>>;
    /** What it decompresses to. Undefined for a layer that lies elsewhere, at its `urls`. */
    readonly diffId: string | undefined;
  }[];
};

/** Reads an image, an index or an artifact. Throws where the registry gives out other bytes than a descriptor says. */
export async function readContent(reference: string): Promise<RegistryContent> {
  const [, host, repository, name] = /^([^/]+)\/(.+?)(?::|@(?=sha256:))([^/]+)$/.exec(reference) ?? [];
  const url = `http://${host}/v2/${repository}`;
  const response = await fetch(`${url}/manifests/${name}`, { headers: { accept: TYPES } });
  if (!response.ok) throw new Error(`${reference}: ${response.status} ${await response.text()}`);
  const bytes = await response.bytes();
  const digest = sha256(bytes);
  const mediaType = response.headers.get("content-type") ?? "";
  const json: unknown = JSON.parse(new TextDecoder().decode(bytes));
  if (v.is(INDEX, json)) {
    const { manifests, annotations } = v.parse(INDEX, json);
    const children = manifests.map(async (child) => ({
      ...(await readContent(`${host}/${repository}@${child.digest}`)),
      architecture: child.platform?.architecture,
      isAttestation: child.annotations?.["vnd.docker.reference.type"] === "attestation-manifest",
    }));
    return {
      digest,
      mediaType,
      annotations: annotations ?? {},
      children: await Promise.all(children),
      config: undefined,
      configBytes: undefined,
      layers: [],
    };
  }
  const { config, layers, annotations } = v.parse(MANIFEST, json);
  return {
    digest,
    mediaType,
    annotations: annotations ?? {},
    children: [],
    config: config.digest,
    configBytes: await readBlob(url, config),
    layers: await Promise.all(
      layers.map(async (layer) => ({
        digest: layer.digest,
        mediaType: layer.mediaType,
        annotations: layer.annotations ?? {},
        diffId: layer.urls === undefined ? sha256(unpack(await readBlob(url, layer))) : undefined,
      })),
    ),
  };
}

/**
 * What the layers of an image decompress to, or those of each image of an index. Throws where a config names others.
 * The digest is that of what the reference names.
 */
export async function readLayers(reference: string) {
  const content = await readContent(reference);
  const images = manifestsOf(content).filter(({ config }) => config !== undefined);
  const diffIds = images.map(({ configBytes, layers }) => {
    const own = layers.map(({ diffId }) => diffId);
    const { rootfs } = v.parse(CONFIG, JSON.parse(new TextDecoder().decode(configBytes)));
    if (rootfs.diff_ids.join() === own.join()) return own;
    throw new Error(`${reference}: the layers are ${own}, but the config has ${rootfs.diff_ids}.`);
  });
  return { digest: content.digest, diffIds };
}

/** Every manifest of a tree, children first. */
export function manifestsOf(content: RegistryContent): RegistryContent[] {
  return [...content.children.flatMap(manifestsOf), content];
}

async function readBlob(url: string, { digest, size }: Descriptor): Promise<Uint8Array> {
  const response = await fetch(`${url}/blobs/${digest}`);
  const bytes = await response.bytes();
  if (response.ok && sha256(bytes) === digest && bytes.length === size) return bytes;
  throw new Error(`${url}: ${response.status}, ${bytes.length} bytes for ${digest}, which has ${size}.`);
}

/** By what it begins with: media types of foreign content do not tell. */
function unpack(blob: Uint8Array): Uint8Array {
  if (blob[0] === 0x1f && blob[1] === 0x8b) return gunzipSync(blob);
  return blob[0] === 0x28 && blob[1] === 0xb5 ? zstdDecompressSync(blob) : blob;
}
