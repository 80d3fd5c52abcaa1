import * as v from "valibot";
import { PushError, statusOf } from "../errors.ts";
import {
  type Compression,
  compressionOfType,
  type Descriptor,
  INDEX_TYPES,
  MANIFEST_TYPES,
  MEDIA_TYPE,
  type RegistryBlob,
} from "../oci/descriptor.ts";
import { type DiffId, type Digest, digestOf, parseDigest } from "../oci/digest.ts";
import { assertLayerCount, parseImageConfig } from "../oci/image.ts";
import { parseIndex } from "../oci/image-index.ts";
import { object, parseJson } from "../oci/json-schema.ts";
import { pullScope, pushScope } from "./auth/scope.ts";
import { exchangePersistently } from "./http/send.ts";
import { blobUrl, type Call, manifestUrl, type Repository, withFewRetries } from "./registry.ts";

/** An image at the registry, according to its manifest and config. */
export type KnownImage = {
  readonly repository: string;
  /** The digest of its manifest. */
  readonly digest: Digest;
  readonly config: RegistryBlob;
  /** The layers with the wanted compression, by diffID. */
  readonly layers: ReadonlyMap<DiffId, Descriptor>;
};

/** The name of an image at the registry. */
export type ImageName = { readonly repository: string; readonly tag: string };

const ACCEPT = { accept: [...MANIFEST_TYPES, ...INDEX_TYPES].join(", ") };

/** The number of images to read of an index. Each takes two requests. */
const MAX_PLATFORMS = 32;

const CONTENT = object({
  mediaType: v.string(),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
const MANIFEST = object({ config: CONTENT, layers: v.array(CONTENT) });
const MAYBE_INDEX = object({ manifests: v.optional(v.unknown()) });

/**
 * Reads images at the registry, to learn the diffIDs of their blobs. An index stands for its images of all platforms. Leaves
 * out images that are missing or cannot be read. The registry may have removed the blobs meanwhile.
 *
 * @param compression the compression of the layers to return
 * @param onUnread called with a name that could not be read, and the reason
 */
export async function readKnownImages(
  at: Repository,
  images: readonly ImageName[],
  compression: Compression,
  call: Call,
  onUnread: (image: ImageName, reason: string) => void,
): Promise<KnownImage[]> {
  const known = images.map(async (image) => {
    try {
      return await readNamed(at, image, compression, call);
    } catch (error) {
      // Without the right to read, for example, the push compresses all layers.
      onUnread(image, reasonOf(error, call));
      return [];
    }
  });
  return (await Promise.all(known)).flat();
}

/** Reads an image, or all images of an index. Throws if none can be read. */
async function readNamed(
  at: Repository,
  { repository, tag }: ImageName,
  compression: Compression,
  call: Call,
): Promise<KnownImage[]> {
  const name = `${repository}:${tag} at the registry`;
  const place = { registry: at.registry, name: repository };
  const bytes = await read(at, place, manifestUrl(place, tag), call);
  if (parseJson(bytes, MAYBE_INDEX, name).manifests === undefined)
    return [await readImage(at, place, bytes, name, compression, call)];
  const digests = parseIndex(bytes, name)
    .filter(({ isAttestation, mediaType = "" }) => !isAttestation && !INDEX_TYPES.includes(mediaType))
    .map(({ digest }) => digest);
  const children = [...new Set(digests)].slice(0, MAX_PLATFORMS).map((digest) =>
    at.registry.asking.run(0, async () => {
      const child = await read(at, place, manifestUrl(place, digest), call);
      if (digestOf(child) !== digest) throw mismatch(name);
      return readImage(at, place, child, name, compression, call);
    }),
  );
  const settled = await Promise.allSettled(children);
  const known = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const failures = settled.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  // An index may list platforms that were never pushed.
  const isFatal = (error: unknown) =>
    known.length === 0 || call.signal.aborted || !(error instanceof PushError);
  if (failures.some(isFatal)) throw failures.find(isFatal);
  return known;
}

async function readImage(
  at: Repository,
  place: Repository,
  manifestBytes: Uint8Array<ArrayBuffer>,
  name: string,
  compression: Compression,
  call: Call,
): Promise<KnownImage> {
  const manifest = parseJson(manifestBytes, MANIFEST, name);
  const digest = parseDigest(manifest.config.digest, `the config's digest of ${name}`);
  const configBytes = await read(at, place, blobUrl(place, digest), call);
  if (digestOf(configBytes) !== digest) throw mismatch(name);
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
  return { repository: place.name, digest: digestOf(manifestBytes), config: blob, layers };
}

function mismatch(name: string): PushError {
  return new PushError("CONTENT_MISMATCH", `A document of ${name} does not match its digest.`);
}

/** Returns the reason why an image was not read. Throws the error after an abort, and if it is a bug. */
function reasonOf(error: unknown, { signal }: Call): string {
  if (signal.aborted || !(error instanceof PushError)) throw error;
  return statusOf(error) === 404 ? "the registry does not have it." : error.message;
}

/** GET: reads a document of a repository, up to 1 MiB. */
async function read(
  at: Repository,
  { name: repository }: Repository,
  url: URL,
  call: Call,
): Promise<Uint8Array<ArrayBuffer>> {
  const { name } = at;
  // Ask for the scopes of a mount, which then needs no other token.
  const scopes = [pushScope(name), ...(repository === name ? [] : [pullScope(repository)])];
  const request = { method: "GET", url, headers: ACCEPT, scopes } as const;
  // Without an answer, the push compresses the layers.
  const { bytes } = await exchangePersistently(withFewRetries(at), request, [200], call);
  return bytes;
}
