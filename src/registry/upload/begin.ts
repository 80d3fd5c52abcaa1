import { PushError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import type { RegistryBlob } from "../../oci/descriptor.ts";
import { forgetUpload, recallUpload, rememberUpload } from "../../store/upload-notes.ts";
import type { Registry } from "../registry.ts";
import { type ChunkLimits, chooseChunkSize } from "./chunk-size.ts";
import {
  askUpload,
  cancelUpload,
  mountBlob,
  type StartedUpload,
  startUpload,
  type Upload,
  type UploadSession,
} from "./session.ts";

/** A Worker's R2 cannot put together a larger blob: https://developers.cloudflare.com/r2/platform/limits/ */
const R2_MAX_BLOB_BYTES = 5 * 1024 ** 3;

export type BeginOptions = {
  /** Bytes; the server's maximum is stronger. Undefined: as the server wishes. */
  readonly chunkBytes: number | undefined;
  /** Tries blobs, too, that serverless-registry is known to fail at. @default false */
  readonly allowOversize?: boolean;
};

/** POST, and the choice of the one chunk size. Throws `BLOB_TOO_LARGE` before a byte goes up in vain. */
export async function beginUpload(
  registry: Registry,
  blob: RegistryBlob,
  options: BeginOptions,
): Promise<Upload> {
  return planUpload(registry, blob, await startUpload(registry), options);
}

/**
 * The same, where the registry may have the blob in another repository, and needs no byte of it then.
 *
 * @param repositories where to look, in this order
 */
export async function mountOrBeginUpload(
  registry: Registry,
  blob: RegistryBlob,
  repositories: readonly string[],
  options: BeginOptions,
): Promise<Upload | { readonly mountedFrom: string }> {
  let started: StartedUpload | undefined;
  for (const repository of repositories) {
    if (started !== undefined) await cancelUpload(registry, started);
    started = undefined;
    const answer = await mountBlob(registry, blob.descriptor.digest, repository);
    if (answer === "mounted") return { mountedFrom: repository };
    started = answer;
  }
  return planUpload(registry, blob, started ?? (await startUpload(registry)), options);
}

/** The upload that an earlier process left, where the server still knows it and its chunks are not too large. */
export async function resumeUpload(
  registry: Registry,
  { descriptor: { digest, size } }: RegistryBlob,
  options: BeginOptions,
): Promise<Upload | undefined> {
  const saved = await recallUpload(registry, digest);
  if (saved === undefined) return undefined;
  const { chunkBytes, limits } = saved;
  const mostBytes = Math.min(options.chunkBytes ?? chunkBytes, registry.learned.maxBodyBytes ?? chunkBytes);
  const current = await askUpload(registry, saved.session);
  if (current !== undefined && chunkBytes <= mostBytes && current.offset <= size) {
    return { session: current, chunkBytes, limits };
  }
  if (current !== undefined) await cancelUpload(registry, current);
  await forgetUpload(registry, digest);
  return undefined;
}

async function planUpload(
  registry: Registry,
  blob: RegistryBlob,
  { limits, ...session }: StartedUpload,
  options: BeginOptions,
): Promise<Upload> {
  const { digest, size } = blob.descriptor;
  if (size > R2_MAX_BLOB_BYTES && isServerlessRegistry(session) && !options.allowOversize) {
    await cancelUpload(registry, session);
    throw new PushError(
      "BLOB_TOO_LARGE",
      `Cannot upload ${digest}: it has ${formatBytes(size)}, and serverless-registry fails, after all bytes were sent, at blobs over ${formatBytes(R2_MAX_BLOB_BYTES)}.`,
      {
        hint: "Split the layer in the Dockerfile: several COPY or RUN lines make several layers. --allow-oversize tries all the same.",
      },
    );
  }
  const chunkBytes = planChunks(registry, size, options.chunkBytes, limits);
  const upload = { session, chunkBytes, limits };
  if (size > chunkBytes) await rememberUpload(registry, digest, upload);
  return upload;
}

/**
 * The chunk size, in bytes, of an upload that begins now: from all that is known of the registry and of the link.
 *
 * @param wishBytes the user's
 */
export function planChunks(
  { learned, link }: Registry,
  blobBytes: number,
  wishBytes: number | undefined,
  limits: ChunkLimits,
): number {
  const { maxBodyBytes, wholePuts } = learned;
  if (wholePuts === "only" || wholePuts === "preferred") return Math.max(blobBytes, 1);
  return chooseChunkSize(blobBytes, wishBytes, limits, maxBodyBytes, link.bytesPerSecond());
}

/** Only its upload addresses carry a hash of the upload's state. */
function isServerlessRegistry({ location }: UploadSession): boolean {
  return location.searchParams.has("_stateHash");
}
