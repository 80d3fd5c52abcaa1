import { fileError, OTHER_CACHE, PushError } from "../errors.ts";
import { type Descriptor, MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { asDiffId, type DiffId, type Digest, digestInPath, shortDigest } from "../oci/digest.ts";
import { compressionOf } from "../oci/image.ts";
import { peek } from "../oci/read-pieces.ts";
import { storeLayer, storePackedLayer } from "../store/layers.ts";
import { temporaryFile } from "../store/temporary-file.ts";
import { compressLayer } from "./compress/layer.ts";
import { hashStream } from "./hash.ts";
import type { PrepareOptions, ReadyBlob } from "./prepare.ts";
import { unpackLayer } from "./unpack.ts";
import { writeHashed } from "./write-hashed.ts";

type Bytes = AsyncIterable<Uint8Array<ArrayBuffer>>;

export type StreamedOptions<Elsewhere> = Pick<PrepareOptions, "cache" | "pool" | "signal" | "onProgress"> & {
  /** Finds a blob that goes up unchanged in another place, by the digest in its name. It is not read then. */
  readonly findElsewhere: (descriptor: Descriptor) => Promise<Elsewhere | undefined>;
};

/** The result of reading a layer once. */
export type StreamedLayer<Elsewhere> =
  /** `diffId` is undefined for a compressed layer: the image's documents tell which layer it is. */
  | {
      readonly kind: "kept";
      readonly diffId: DiffId | undefined;
      readonly blob: RegistryBlob;
      readonly layer: ReadyBlob;
    }
  /** The layer is in another place, and was not read. */
  | { readonly kind: "elsewhere"; readonly found: Elsewhere }
  /** The layer was discarded. */
  | { readonly kind: "unwanted"; readonly diffId: DiffId };

/**
 * Reads a layer that can be read only once, and keeps it in the cache in the form in which it goes up, if it is wanted.
 * Throws `CONTENT_MISMATCH` and `FILE_FAILED`.
 *
 * @param layer `path` is its name in the archive, which may contain its digest
 */
export async function prepareStreamedLayer<Elsewhere>(
  { path, sizeBytes, bytes }: { readonly path: string; readonly sizeBytes: number; readonly bytes: Bytes },
  isWanted: (diffId: DiffId) => boolean,
  options: StreamedOptions<Elsewhere>,
): Promise<StreamedLayer<Elsewhere>> {
  const { cache, pool, signal, onProgress } = options;
  await using file = temporaryFile(cache.directory, "layer");
  onProgress(0);
  try {
    const { head, all } = await peek(bytes, 4);
    const compression = compressionOf(head);
    if (compression !== "none" || pool === undefined) {
      const claimed = digestInPath(path);
      const mediaType = MEDIA_TYPE.layer[compression];
      const elsewhere =
        claimed && (await options.findElsewhere({ mediaType, digest: claimed, size: sizeBytes }));
      if (elsewhere !== undefined) return { kind: "elsewhere", found: elsewhere };
      const { digest, writtenBytes } = await writeAsItComes(path, all, file.path, options);
      // The digest of raw bytes is the diffID. A digest in the name is that of the bytes as they come.
      const rawDigest =
        compression === "none"
          ? digest
          : claimed !== undefined
            ? undefined
            : await hashStream(unpackLayer(Bun.file(file.path), compression, path, signal));
      const diffId = rawDigest && asDiffId(rawDigest);
      if (diffId !== undefined && !isWanted(diffId)) return { kind: "unwanted", diffId };
      const blob = await storePackedLayer(cache, file.path, { mediaType, digest, size: writtenBytes });
      return { kind: "kept", diffId, blob, layer: { blob, origin: "source" } };
    }
    const compressed = await compressLayer(all, file.path, pool, signal, onProgress);
    const diffId = asDiffId(compressed.rawDigest);
    if (!isWanted(diffId)) return { kind: "unwanted", diffId };
    const blob = await storeLayer(cache, diffId, pool.form, { path: file.path, ...compressed });
    return { kind: "kept", diffId, blob, layer: { blob, origin: "compressed" } };
  } catch (cause) {
    throw fileError(cause, `compress the layer "${path}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

async function writeAsItComes(
  path: string,
  bytes: Bytes,
  target: string,
  options: Pick<PrepareOptions, "signal" | "onProgress">,
): Promise<{ digest: Digest; writtenBytes: number }> {
  const { digest, writtenBytes } = await writeHashed(bytes, target, options);
  if (![digest, undefined].includes(digestInPath(path))) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot push: the layer "${path}" is damaged: it is ${shortDigest(digest)}.`,
      { hint: "The engine's own copy may be damaged: pull or build the image again." },
    );
  }
  return { digest, writtenBytes };
}
