import { RegistryError, statusOf } from "../../errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { recallRepository } from "../../store/blob-places.ts";
import { uploadName } from "../../store/file-names.ts";
import type { Locks } from "../../store/locks.ts";
import { askForBlob, type FoundBlob } from "../find-blob.ts";
import type { Repository } from "../registry.ts";
import type { Turn } from "../slots.ts";
import { mountOrBeginUpload, resumeUpload, uploadKey } from "./begin.ts";
import type { NamedBlob } from "./outgoing.ts";
import { type SendOptions, type Sent, sendUpload } from "./send-blob.ts";

export type EnsureOptions = SendOptions & {
  readonly locks: Locks;
  /** Called if this process waits for another one that sends the blob. */
  readonly onWaiting: () => void;
  /** The registry's answer to an earlier HEAD. Ignored after a wait for another process. @default the registry is asked */
  readonly answer?: { readonly found: FoundBlob | undefined } | undefined;
  /** The waiting blob with the highest priority is sent first. @default the size in bytes */
  readonly priority?: number | undefined;
  /** Repositories of the same registry that may have the blob, besides the one where it was seen last. */
  readonly mountFrom?: readonly string[] | undefined;
  /** Whether the registry may already have the blob or mount it. Otherwise the blob is sent in any case. @default true */
  readonly mayMount?: boolean | undefined;
};

export type Ensured =
  | { readonly how: "present" }
  | { readonly how: "mounted"; readonly from: string }
  | ({ readonly how: "sent" } & Sent);

/**
 * Sends or mounts a blob, unless the repository has it. A lock lets processes that share the notes send a blob to a
 * repository one at a time, so that all but the first find it there. Throws `CONTENT_MISMATCH`, and the errors of
 * requests and uploads.
 */
export async function ensureBlob(at: Repository, blob: NamedBlob, options: EnsureOptions): Promise<Ensured> {
  const { digest, size } = blob.descriptor;
  const { locks, onWaiting, answer, priority = size, mayMount = true } = options;
  let hasWaited = false;
  using _lock = await locks.take(uploadName(uploadKey(at, digest)), () => {
    hasWaited = true;
    onWaiting();
  });
  let found: FoundBlob | undefined;
  if (mayMount) found = answer && !hasWaited ? answer.found : await askForBlob(at, blob.descriptor, options);
  if (found?.sizeBytes === size) return { how: "present" };
  return await at.registry.sending.run(priority, async (turn): Promise<Ensured> => {
    if (found === undefined) return bring(at, blob, options, turn);
    // serverless-registry reports a wrong size for mounted blobs. Verify that our blob matches its digest.
    await blob.guard?.verify();
    return { how: "present" };
  });
}

async function bring(at: Repository, blob: NamedBlob, options: EnsureOptions, turn: Turn): Promise<Ensured> {
  try {
    return await mountOrSend(at, blob, options, turn);
  } catch (error) {
    if (!mayBeWrongContent(error)) throw error;
    // Throw here for damage in the source, which explains the failure better.
    await blob.guard?.verify();
    if (!isWrongContent(error)) throw error;
    // Our bytes are intact, so the registry got others. Send them again.
    return mountOrSend(at, blob, options, turn);
  }
}

/** Tells whether the registry has found that the content does not match the digest. */
function isWrongContent(error: unknown): boolean {
  return error instanceof RegistryError && error.answer.specCodes.includes("DIGEST_INVALID");
}

/** Tells the same, or that it is possible: serverless-registry answers a bare 500 to wrong content. */
export function mayBeWrongContent(error: unknown): boolean {
  return isWrongContent(error) || statusOf(error) === 500;
}

async function mountOrSend(
  at: Repository,
  blob: NamedBlob,
  options: EnsureOptions,
  turn: Turn,
): Promise<Ensured> {
  const { descriptor } = blob;
  // The guard sees no piece of an empty blob.
  if (descriptor.size === 0) await blob.guard?.verify();
  const begun =
    (await resumeUpload(at, descriptor, options)) ??
    (await mountOrBeginUpload(at, blob, await placesOf(at, descriptor, options), options));
  if ("mountedFrom" in begun) return { how: "mounted", from: begun.mountedFrom };
  return { how: "sent", ...(await sendUpload(at, blob, begun, options, turn)) };
}

/** Lists the repositories to mount from. The one where the blob was last seen is the first. */
async function placesOf(
  { registry, name }: Repository,
  { digest }: Descriptor,
  { mayMount = true, mountFrom = [] }: EnsureOptions,
): Promise<string[]> {
  if (!mayMount) return [];
  const seen = await recallRepository(registry.notes, registry.origin, digest);
  const places = new Set([seen, ...mountFrom]);
  places.delete(name);
  return [...places].filter((place) => place !== undefined);
}
