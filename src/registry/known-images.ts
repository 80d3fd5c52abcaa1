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
import { object, parseJson } from "../oci/json-schema.ts";
import { pullScope, pushScope } from "./auth/scope.ts";
import { exchangePersistently } from "./http/send.ts";
import { blobUrl, type Call, manifestUrl, type Repository, withRetries } from "./registry.ts";

/** An image that the registry has, as far as its manifest and config tell. */
export type KnownImage = {
  readonly repository: string;
  /** The digest of its manifest. */
  readonly digest: Digest;
  readonly config: RegistryBlob;
  /** The layers with the wanted compression, by diffID. */
  readonly layers: ReadonlyMap<DiffId, Descriptor>;
};

/** Names an image at the registry. */
export type ImageName = { readonly repository: string; readonly tag: string };

const ACCEPT = {
  accept: `${MEDIA_TYPE.manifest}, application/vnd.docker.distribution.manifest.v2+json`,
};

/** Few: the layers can be made as well, without the registry's answer. */
const MAX_RETRIES = 2;

const CONTENT = object({
  mediaType: v.string(),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
const MANIFEST = object({ config: CONTENT, layers: v.array(CONTENT) });

/**
 * Reads images at the registry: their configs tell what the blobs of their manifests unpack to. Leaves out images that
 * are missing, or of another kind. Their blobs may be missing by now.
 *
 * @param compression leaves out layers with another one
 */
export async function readKnownImages(
  at: Repository,
  images: readonly ImageName[],
  compression: Compression,
  call: Call,
): Promise<KnownImage[]> {
  const known = await Promise.all(images.map((image) => readImage(at, image, compression, call)));
  return known.filter((image) => image !== undefined);
}

async function readImage(
  at: Repository,
  { repository, tag }: ImageName,
  compression: Compression,
  call: Call,
): Promise<KnownImage | undefined> {
  const name = `${repository}:${tag} at the registry`;
  const place = { registry: at.registry, name: repository };
  try {
    const manifestBytes = await read(at, repository, manifestUrl(place, tag), call);
    if (manifestBytes === undefined) return undefined;
    const manifest = parseJson(manifestBytes, MANIFEST, name);
    const digest = parseDigest(manifest.config.digest, `the config's digest of ${name}`);
    const configBytes = await read(at, repository, blobUrl(place, digest), call);
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
    // No right to read, an image of another kind, or a registry that only takes: all layers are made.
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    return undefined;
  }
}

/** GET: reads a document of a repository, at most its first MiB. Undefined if it is missing. */
async function read(
  at: Repository,
  repository: string,
  url: URL,
  call: Call,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { name } = at;
  // The token of the push serves a mount from there, too.
  const scopes = [pushScope(name), ...(repository === name ? [] : [pullScope(repository)])];
  const request = { method: "GET", url, headers: ACCEPT, scopes } as const;
  const { status, bytes } = await exchangePersistently(
    withRetries(at, MAX_RETRIES),
    request,
    [200, 404],
    call,
  );
  return status === 200 ? bytes : undefined;
}
