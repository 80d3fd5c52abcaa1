import { PushError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { forgetUpload, recallUpload, rememberUpload, type UploadKey } from "../../store/upload-notes.ts";
import { unlessAborted } from "../http/unless-aborted.ts";
import type { Call, Repository } from "../registry.ts";
import type { Turn } from "../slots.ts";
import { assertChunkLimits, chooseChunkSize } from "./chunk-size.ts";
import { LEAST_TIMED_BYTES } from "./link-rate.ts";
import type { NamedBlob, Outgoing } from "./outgoing.ts";
import { goesWhole, planChunks, R2_MAX_BLOB_BYTES } from "./plan-chunks.ts";
import {
  askUpload,
  cancelUpload,
  isServerlessRegistry,
  mountBlob,
  type StartedUpload,
  startUpload,
  type Upload,
  type UploadSession,
} from "./session.ts";

export type BeginOptions = Call & {
  /** The user's chunk size in bytes, which the server's maximum limits. Undefined to adapt it to the link. */
  readonly chunkBytes: number | undefined;
  /** Tries blobs that are too large for serverless-registry. @default false */
  readonly allowOversize?: boolean;
};

/** POST: begins an upload, and chooses its chunk size. Throws `BLOB_TOO_LARGE` before any byte is sent. */
export async function beginUpload(
  at: Repository,
  blob: Outgoing,
  options: BeginOptions,
  turn: Turn,
): Promise<Upload> {
  // One PUT needs the blob's length.
  if (goesWhole(at.registry) && blob.grows) await turn.idle(unlessAborted(blob.end, options.signal));
  return planUpload(at, blob, await startUpload(at, options), options);
}

/** Mounts a blob from another repository, within the limit of `asking`. @returns whether the registry mounted it */
export async function tryMount(
  at: Repository,
  { digest, size }: Descriptor,
  from: string,
  call: Call,
): Promise<boolean> {
  const answer = await at.registry.asking.run(size, () => mountBlob(at, digest, from, call));
  if (answer === "mounted") return true;
  if (answer !== undefined) await cancelUpload(at, answer, call);
  return false;
}

/**
 * Mounts the blob from the first repository that has it, or begins an upload.
 *
 * @param repositories the repositories to try, in order
 */
export async function mountOrBeginUpload(
  at: Repository,
  blob: NamedBlob,
  repositories: readonly string[],
  options: BeginOptions,
): Promise<Upload | { readonly mountedFrom: string }> {
  let started: StartedUpload | undefined;
  for (const repository of repositories) {
    if (started !== undefined) await cancelUpload(at, started, options);
    started = undefined;
    const answer = await mountBlob(at, blob.descriptor.digest, repository, options);
    if (answer === "mounted") return { mountedFrom: repository };
    started = answer;
  }
  return planUpload(at, blob, started ?? (await startUpload(at, options)), options);
}

/**
 * Finds the upload that an earlier process left, if there is one. Changes nothing. It is stale if the server has forgotten
 * it, or if its chunks are too large now at serverless-registry: R2 requires equal chunks.
 */
export async function findUpload(
  at: Repository,
  { digest, size }: Descriptor,
  options: BeginOptions,
): Promise<Upload | "stale" | undefined> {
  const { notes, learned } = at.registry;
  const saved = await recallUpload(notes, uploadKey(at, digest));
  if (saved === undefined) return undefined;
  const location = new URL(saved.location);
  const { offset, chunkBytes, minBytes, maxBytes } = saved;
  const limits = { minBytes, maxBytes };
  // As for a new upload, the server's minimum takes precedence over a wish.
  const wishBytes = options.chunkBytes ?? chunkBytes;
  const mostBytes = chooseChunkSize(size, wishBytes, limits, learned.maxBodyBytes);
  const chunkEnd = Math.min(offset + chunkBytes, size);
  const session = isUploadOf(at, location)
    ? await askUpload(at, { location, offset }, options, chunkEnd)
    : undefined;
  const isFree = !isServerlessRegistry({ location, offset });
  if (session === undefined || session.offset > size || !(isFree || chunkBytes <= mostBytes)) return "stale";
  return { session, isRecalled: true, chunkBytes: Math.min(chunkBytes, mostBytes), limits };
}

/** Returns the upload that an earlier process left. Forgets a stale one, which expires at the server. */
export async function resumeUpload(
  at: Repository,
  descriptor: Descriptor,
  options: BeginOptions,
): Promise<Upload | undefined> {
  const found = await findUpload(at, descriptor, options);
  if (found !== "stale") return found;
  await forgetUpload(at.registry.notes, uploadKey(at, descriptor.digest));
  return undefined;
}

async function planUpload(
  at: Repository,
  blob: Outgoing,
  { limits, ...session }: StartedUpload,
  options: BeginOptions,
): Promise<Upload> {
  const { descriptor } = blob;
  const { registry } = at;
  try {
    assertChunkLimits(limits, registry.origin);
    if (descriptor !== undefined) assertSize(descriptor, session, options);
    const chunkBytes = planChunks(registry, descriptor?.size, options.chunkBytes, limits);
    const upload = { session, chunkBytes, limits };
    if (descriptor !== undefined) await noteUpload(at, descriptor, upload);
    return upload;
  } catch (error) {
    await cancelUpload(at, session, options);
    throw error;
  }
}

/** Throws `BLOB_TOO_LARGE` for a blob that serverless-registry cannot assemble. */
export function assertSize(
  { digest, size }: { readonly digest?: Digest; readonly size: number },
  session: UploadSession,
  { allowOversize }: BeginOptions,
): void {
  if (size <= R2_MAX_BLOB_BYTES || !isServerlessRegistry(session) || allowOversize) return;
  throw new PushError(
    "BLOB_TOO_LARGE",
    `Cannot upload ${digest ?? "a blob"} of ${formatBytes(size)}: serverless-registry fails at blobs over ${formatBytes(R2_MAX_BLOB_BYTES)}, after all bytes were sent.`,
    {
      hint: "Split the layer in the Dockerfile: several COPY or RUN lines make several layers. --allow-oversize tries anyway.",
    },
  );
}

/**
 * Tells whether an address is that of an upload to this repository. A note in the cache may be forged, and must not cause a
 * request, with the password, to any other address of the registry, or send a blob to another host.
 */
function isUploadOf({ registry, name }: Repository, { origin, pathname, username, password }: URL): boolean {
  const place = `/v2/${name}/blobs/`;
  return (
    origin === registry.origin &&
    `${username}${password}` === "" &&
    pathname.startsWith(place) &&
    // GHCR leaves the "s" out. Servers may take an escaped slash for one.
    /^uploads?\/(?!.*%(?:2e|2f|5c))[^/]+\/?$/i.test(pathname.slice(place.length))
  );
}

/**
 * Saves an upload's state if the upload takes more than one request, and the next process may use its address.
 */
export async function noteUpload(at: Repository, blob: Descriptor, upload: Upload): Promise<void> {
  const { session, chunkBytes, limits } = upload;
  if (blob.size <= chunkBytes || !isUploadOf(at, session.location)) return;
  const note = { location: session.location.href, offset: session.offset, chunkBytes, ...limits };
  await rememberUpload(at.registry.notes, uploadKey(at, blob.digest), note);
}

/** Returns the key of an upload in the notes, and in the name of its lock. */
export function uploadKey({ registry, name }: Repository, digest: Digest): UploadKey {
  return { origin: registry.origin, repository: name, digest };
}

/**
 * Waits until the link's rate is known, and then chooses the chunk size. The first upload measures the rate with its first
 * chunk. An upload of one chunk and a growing blob do not wait.
 *
 * @returns a resource whose disposal ends the measuring, if this upload measures
 */
export async function awaitRate(
  at: Repository,
  blob: Outgoing,
  upload: Upload,
  options: BeginOptions,
): Promise<Disposable | undefined> {
  const { registry } = at;
  const size = blob.descriptor?.size;
  if (options.chunkBytes !== undefined || blob.grows) return undefined;
  if (upload.session.offset > 0 || upload.isRecalled) return undefined;
  while (registry.link.bytesPerSecond() === undefined && !goesWhole(registry)) {
    const isMeasurable = upload.chunkBytes >= LEAST_TIMED_BYTES;
    if (!isMeasurable || (size !== undefined && size <= upload.chunkBytes)) return undefined;
    const probe = registry.link.probe();
    if (!(probe instanceof Promise)) return probe;
    await unlessAborted(probe, options.signal);
    upload.chunkBytes = planChunks(registry, size, undefined, upload.limits);
    // Save the new size before sending: if we are killed, the server may have the chunk, and R2 requires equal chunks.
    if (blob.descriptor !== undefined) await noteUpload(at, blob.descriptor, upload);
  }
  return undefined;
}
