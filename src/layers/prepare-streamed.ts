import { fileError, OTHER_CACHE, PushError } from "../errors.ts";
import { type Compression, MEDIA_TYPE, type RegistryBlob } from "../oci/descriptor.ts";
import { asDiffId, type DiffId, type Digest, digestInPath, shortDigest } from "../oci/digest.ts";
import { compressionOf } from "../oci/image.ts";
import { peek } from "../oci/read-pieces.ts";
import { storeLayer, storePackedLayer } from "../store/layers.ts";
import { temporaryFile } from "../store/temporary-file.ts";
import { compressLayer } from "./compress/layer.ts";
import { hashStream } from "./hash.ts";
import type { PrepareOptions } from "./prepare.ts";
import { unpackLayer } from "./unpack.ts";
import { writeHashed } from "./write-hashed.ts";

type Bytes = AsyncIterable<Uint8Array<ArrayBuffer>>;

/** A layer that was read from a stream, and is in the cache in the form to upload. */
export type StreamedLayer = {
  /** Undefined for a compressed layer that is named by its digest: the image's documents tell which layer it is. */
  readonly diffId: DiffId | undefined;
  readonly blob: RegistryBlob;
  readonly origin: "compressed" | "source";
};

/**
 * Reads a layer from a stream, and stores it in the cache in the form to upload. Undefined if its diffID is unwanted.
 * Throws `CONTENT_MISMATCH` and `FILE_FAILED`.
 *
 * @param layer `path` is its name in the archive, which may contain its digest
 */
export async function prepareStreamedLayer(
  { path, bytes }: { readonly path: string; readonly bytes: Bytes },
  isWanted: (diffId: DiffId) => boolean,
  options: Pick<PrepareOptions, "cache" | "pool" | "signal" | "onProgress">,
): Promise<StreamedLayer | undefined> {
  const { cache, pool, signal, onProgress } = options;
  await using file = temporaryFile(cache.directory, "layer");
  onProgress(0);
  try {
    const { head, all } = await peek(bytes, 4);
    const compression = compressionOf(head);
    if (compression !== "none" || pool === undefined) {
      const { digest, writtenBytes: size } = await writeAsItComes(path, all, file.path, options);
      const unpack = async (kind: Exclude<Compression, "none">) =>
        hashStream(unpackLayer(Bun.file(file.path), kind, path, signal));
      // The digest of raw bytes is the diffID. A digest in the name is that of the streamed bytes.
      const isNamed = digestInPath(path) !== undefined;
      const rawDigest = compression === "none" ? digest : isNamed ? undefined : await unpack(compression);
      const diffId = rawDigest && asDiffId(rawDigest);
      if (diffId !== undefined && !isWanted(diffId)) return undefined;
      const descriptor = { mediaType: MEDIA_TYPE.layer[compression], digest, size };
      return { diffId, blob: await storePackedLayer(cache, file.path, descriptor), origin: "source" };
    }
    const compressed = await compressLayer(all, file.path, pool, signal, onProgress);
    const diffId = asDiffId(compressed.rawDigest);
    if (!isWanted(diffId)) return undefined;
    const blob = await storeLayer(cache, diffId, pool.form, { path: file.path, ...compressed });
    return { diffId, blob, origin: "compressed" };
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
      `Cannot push: the layer "${path}" is damaged: its digest is ${shortDigest(digest)}.`,
      { hint: "The engine's copy may be damaged: pull or build the image again." },
    );
  }
  return { digest, writtenBytes };
}
