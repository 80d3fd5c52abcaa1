import { fileError, OTHER_CACHE } from "../errors.ts";
import { damagedLayer, hashStream } from "../layers/hash.ts";
import { isIntact, type ReadyBlob } from "../layers/prepare.ts";
import { prepareStreamedLayer } from "../layers/prepare-streamed.ts";
import { rawBytesOf, unpackLayer } from "../layers/unpack.ts";
import { writeHashed } from "../layers/write-hashed.ts";
import type { Compression, RegistryBlob } from "../oci/descriptor.ts";
import {
  asDiffId,
  type Digest,
  digestInPath,
  digestOf,
  isDigest,
  parseDigest,
  shortDigest,
} from "../oci/digest.ts";
import { compressionOf, type StoredBytes } from "../oci/image.ts";
import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { peek } from "../oci/read-pieces.ts";
import type { BlobTitle } from "../report/events.ts";
import type { ImageFiles } from "../source/files/image-files.ts";
import { takeFiles } from "../source/stream/streamed-files.ts";
import { invalid } from "../source/tar/entries.ts";
import { isTarHeader } from "../source/tar/header.ts";
import type { StreamedFile } from "../source/tar/stream.ts";
import { findCachedLayer, findPackedLayer, storePackedLayer } from "../store/layers.ts";
import { temporaryFile } from "../store/temporary-file.ts";
import { type Job, reportBlob } from "./job.ts";
import { bringReady } from "./send.ts";
import type { Target } from "./target.ts";

/** The limit on documents, which are kept in memory. */
const MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024;
/** The size of a tar header, by which layers are recognized. */
const HEAD_BYTES = 512;

/** A file of the stream: in memory, in the cache unchanged, or compressed in the cache. */
type Taken =
  | { readonly kind: "document"; readonly digest: Digest; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "packed"; readonly digest: Digest; readonly blob: RegistryBlob }
  | {
      readonly kind: "raw";
      readonly digest: Digest;
      readonly sizeBytes: number;
      readonly blob: RegistryBlob;
      readonly compression: Exclude<Compression, "none">;
    };

/** The files of a stream. */
export type TakenIn = ImageFiles & {
  /** The documents that are named by their digests. */
  readonly documents: ReadonlyMap<Digest, Uint8Array<ArrayBuffer>>;
};

/**
 * Reads a stream with an archive, once. Keeps documents in memory. Stores layers in the cache in the form to upload, and sends
 * them at once, since they most likely belong to the pushed image. Throws the errors of reading archives and preparing
 * layers.
 *
 * @param title the archive's name in messages
 */
export async function takeIn(
  archive: AsyncIterable<Uint8Array<ArrayBuffer>>,
  title: string,
  target: Target,
  job: Job,
): Promise<TakenIn> {
  let documentsBytes = 0;
  const documents = new Map<Digest, Uint8Array<ArrayBuffer>>();
  const find = await takeFiles(archive, title, async (file): Promise<Taken> => {
    const { head, all } = await peek(file.bytes, HEAD_BYTES);
    const streamed = { ...file, bytes: all };
    const isTar = isTarHeader(head);
    if (compressionOf(head) !== "none" || (isTar && job.pool !== undefined))
      return takeLayer(streamed, target, job);
    if (isTar || file.sizeBytes > MAX_JSON_BYTES) return takeBlob(streamed, target, job);
    const bytes = new Uint8Array(Buffer.concat(await Array.fromAsync(all)));
    documentsBytes += bytes.length;
    if (documentsBytes > MAX_DOCUMENTS_BYTES)
      throw invalid(title, "its files besides the layers are too large");
    const digest = digestOf(bytes);
    if (digestInPath(file.path) === digest) documents.set(digest, bytes);
    return { kind: "document", digest, bytes };
  });

  const open: ImageFiles["open"] = async (path) => {
    const taken = find(path);
    if (taken === undefined) return undefined;
    if (taken.kind === "document") return new Blob([taken.bytes]);
    return taken.kind === "packed" ? taken.blob.content : unpack(taken, path, job);
  };
  return {
    title,
    documents,
    open,
    async openLayer(path): Promise<StoredBytes | undefined> {
      const taken = find(path);
      if (taken?.kind !== "raw") return open(path);
      return rawBytesOf(taken.blob.content, taken.compression, taken.sizeBytes, path);
    },
  };
}

/** Takes in a layer, and compresses it if it is raw. */
async function takeLayer(file: StreamedFile, target: Target, job: Job): Promise<Taken> {
  const { path, sizeBytes } = file;
  const name: BlobTitle = { id: path, title: "a layer" };
  const known = (await takeCached(file, job)) ?? (await takeKnown(file, name, job));
  if (known !== undefined) return known;
  const made = await prepareStreamedLayer(file, () => true, {
    ...job,
    onProgress: (doneBytes) =>
      reportBlob(job, name, { state: "compressing", doneBytes, totalBytes: sizeBytes }),
  });
  if (made === undefined) throw new Error("Every layer is wanted.");
  const { blob, diffId, origin } = made;
  send({ blob, origin }, name, sizeBytes, target, job);
  if (origin === "source" || diffId === undefined || job.pool === undefined)
    return { kind: "packed", digest: blob.descriptor.digest, blob };
  const digest = parseDigest(diffId, "a diffID");
  return { kind: "raw", digest, sizeBytes, blob, compression: job.pool.form.kind };
}

/** Skips a blob that the cache has intact: the stream cannot be read again. */
async function takeCached({ path }: StreamedFile, job: Job): Promise<Taken | undefined> {
  const digest = digestInPath(path);
  const blob = digest && (await findPackedLayer(job.cache, digest, job.pool !== undefined));
  return digest && blob && (await isIntact(blob, job.signal)) ? { kind: "packed", digest, blob } : undefined;
}

/** Verifies a raw layer that the cache has compressed, according to the layer's name. */
async function takeKnown(file: StreamedFile, name: BlobTitle, job: Job): Promise<Taken | undefined> {
  const { path, sizeBytes, bytes } = file;
  const claim = `sha256:${/[0-9a-f]{64}/.exec(path)?.[0]}`;
  if (job.pool === undefined || !isDigest(claim)) return undefined;
  const blob = await findCachedLayer(job.cache, asDiffId(claim), job.pool.form);
  if (blob === undefined || !(await isIntact(blob, job.signal))) return undefined;
  const digest = await hashStream(bytes, (doneBytes) =>
    reportBlob(job, name, { state: "verifying", doneBytes, totalBytes: sizeBytes }),
  );
  if (digest !== claim) throw damagedLayer(path, claim, digest);
  reportBlob(job, name, { state: "unneeded" });
  return { kind: "raw", digest, sizeBytes, blob, compression: job.pool.form.kind };
}

/** Takes in a blob that is uploaded unchanged. */
async function takeBlob(file: StreamedFile, target: Target, job: Job): Promise<Taken> {
  const { path, sizeBytes, bytes } = file;
  const { cache, signal } = job;
  const name = { id: path, title: "a blob" };
  await using temporary = temporaryFile(cache.directory, "blob");
  try {
    const { digest, writtenBytes: size } = await writeHashed(bytes, temporary.path, {
      signal,
      onProgress: (doneBytes) =>
        reportBlob(job, name, { state: "verifying", doneBytes, totalBytes: sizeBytes }),
    });
    const blob = await storePackedLayer(cache, temporary.path, {
      mediaType: "application/octet-stream",
      digest,
      size,
    });
    send({ blob, origin: "source" }, name, sizeBytes, target, job);
    return { kind: "packed", digest, blob };
  } catch (cause) {
    throw fileError(cause, `write "${path}" into "${cache.directory}"`, OTHER_CACHE);
  }
}

/** Sends a blob before it is known whether the pushed image has it. If it does, `bringReady` throws the failure again. */
function send(ready: ReadyBlob, { id }: BlobTitle, totalBytes: number, target: Target, job: Job): void {
  const { digest, size } = ready.blob.descriptor;
  const name = { id, title: `layer ${shortDigest(digest)}` };
  const how = ready.origin === "source" ? "verified" : "compressed";
  reportBlob(job, name, { state: "ready", how, totalBytes, sizeBytes: size });
  bringReady(ready, name, target, job).catch(() => undefined);
}

/** Unpacks a file that was taken for a layer, but is another document. */
async function unpack(
  { blob, compression }: Extract<Taken, { kind: "raw" }>,
  path: string,
  job: Job,
): Promise<Blob> {
  const file = job.use(temporaryFile(job.cache.directory, "blob"));
  const pieces = unpackLayer(blob.content, compression, path, job.signal);
  try {
    await writeHashed(pieces, file.path, { signal: job.signal, onProgress: () => {} });
    return Bun.file(file.path);
  } catch (cause) {
    throw fileError(cause, `write "${path}" into "${job.cache.directory}"`, OTHER_CACHE);
  }
}
