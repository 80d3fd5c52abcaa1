import * as v from "valibot";
import { PushError } from "../errors.ts";
import {
  type Compression,
  compressionOfType,
  type Descriptor,
  MEDIA_TYPE,
  type RegistryBlob,
} from "../oci/descriptor.ts";
import { type DiffId, type Digest, digestOf, parseDigest } from "../oci/digest.ts";
import { assertLayerCount, parseImageConfig } from "../oci/image.ts";
import { parseJson } from "../oci/json.ts";
import { object } from "../oci/json-schema.ts";
import { expectStatus } from "./http/expect-status.ts";
import { sendPersistently } from "./http/send.ts";
import { blobUrl, manifestUrl, type Registry } from "./registry.ts";

/** An image that the registry has. */
export type KnownImage = {
  readonly repository: string;
  /** Of its manifest. */
  readonly digest: Digest;
  readonly config: RegistryBlob;
  /** Those that are compressed as was asked, by diffID. */
  readonly layers: ReadonlyMap<DiffId, Descriptor>;
};

/** An image at the registry. */
export type ImageName = { readonly repository: string; readonly tag: string };

const ACCEPT = {
  accept: `${MEDIA_TYPE.manifest}, application/vnd.docker.distribution.manifest.v2+json`,
};

/** A registry that answers, but fails at the question, costs seconds: the layers can be made as well. */
const MAX_RETRIES = 2;

const CONTENT = object({
  mediaType: v.string(),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
const MANIFEST = object({ config: CONTENT, layers: v.array(CONTENT) });

/**
 * Images at the registry, whose configs say what the blobs of their manifests unpack to. Undefined in place of one that
 * is not there, or is of another kind. Nothing is said of whether their blobs are still there.
 *
 * @param compression only layers that are compressed so
 */
export async function readKnownImages(
  registry: Registry,
  images: readonly ImageName[],
  compression: Compression,
): Promise<KnownImage[]> {
  const known = await Promise.all(images.map((image) => readImage(registry, image, compression)));
  return known.filter((image) => image !== undefined);
}

async function readImage(
  registry: Registry,
  { repository, tag }: ImageName,
  compression: Compression,
): Promise<KnownImage | undefined> {
  const { retryPolicy } = registry;
  const retries = Math.min(retryPolicy.retries, MAX_RETRIES);
  const place = { ...registry, repository, retryPolicy: { ...retryPolicy, retries } };
  const scopes = repository === registry.repository ? [] : [`repository:${repository}:pull`];
  try {
    const name = `${repository}:${tag} at the registry`;
    const manifestBytes = await read(place, manifestUrl(place, tag), scopes);
    if (manifestBytes === undefined) return undefined;
    const manifest = parseJson(manifestBytes, MANIFEST, name);
    const digest = parseDigest(manifest.config.digest, `the config's digest of ${name}`);
    const configBytes = await read(place, blobUrl(place, digest), scopes);
    if (configBytes === undefined || digestOf(configBytes) !== digest) return undefined;
    const { blob, diffIds } = parseImageConfig(configBytes, `the config of ${name}`);
    assertLayerCount(diffIds, manifest.layers, `the manifest of ${name}`);
    const layers = new Map<DiffId, Descriptor>();
    for (const [i, { mediaType, digest, size }] of manifest.layers.entries()) {
      const diffId = diffIds[i];
      if (diffId === undefined || compressionOfType(mediaType) !== compression) continue;
      layers.set(diffId, {
        mediaType: MEDIA_TYPE.layer[compression],
        digest: parseDigest(digest, `a layer's digest of ${name}`),
        size,
      });
    }
    return { repository, digest: digestOf(manifestBytes), config: blob, layers };
  } catch (error) {
    if (registry.signal.aborted || !(error instanceof PushError)) throw error;
    // Without rights to read, with an image that is none of ours, or with a registry that only takes: all layers are
    // prepared as ever.
    return undefined;
  }
}

/** What is there: documents, as far as their first MiB. */
async function read(
  registry: Registry,
  url: URL,
  scopes: readonly string[],
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const request = { method: "GET", url, headers: ACCEPT, scopes } as const;
  const response = await sendPersistently(registry, request, (answer) =>
    expectStatus(registry, request, answer, 200, 404),
  );
  return response.status === 200 ? new TextEncoder().encode(response.text) : undefined;
}
