import type { RegistryBlob } from "../../oci/descriptor.ts";
import { recallRepository } from "../../store/blob-places.ts";
import { forgetUpload, rememberLearned } from "../../store/upload-notes.ts";
import { isTransient } from "../http/transient.ts";
import type { Registry } from "../registry.ts";
import { beginUpload, mountOrBeginUpload, resumeUpload } from "./begin.ts";
import { learnFromRefusal } from "./body-refusal.ts";
import { type FinishOptions, finishUpload } from "./finish.ts";
import { cancelUpload } from "./session.ts";

export type UploadOptions = FinishOptions & {
  /** False: the blob is sent, wherever the registry says it is. @default true */
  readonly mayMount?: boolean;
  /** Repositories of the same registry that may have the blob, besides the one where it was seen last. */
  readonly mountFrom?: readonly string[];
  /** Told that the registry did not take the blob as it was sent, and the size of the bodies in which it starts again. */
  readonly onRefused?: (bodyBytes: number) => void;
};

export type UploadResult = {
  /** How many of the blob's bytes an earlier process had sent. */
  readonly resumedBytes: number;
  /** The repository from which the registry took the whole blob over. */
  readonly mountedFrom?: string;
};

/**
 * Uploads a blob: in one PUT where it fits a chunk, else in equal PATCHes and an empty PUT; or not at all, where another
 * repository of the registry has it. Where an earlier process was interrupted, it goes on from there; where a body is
 * refused for its size, the blob starts again in smaller chunks; where chunks are refused, in one PUT.
 */
export async function uploadBlob(
  registry: Registry,
  blob: RegistryBlob,
  options: UploadOptions,
): Promise<UploadResult> {
  const { digest, size } = blob.descriptor;
  const begun =
    (await resumeUpload(registry, blob, options)) ??
    (await mountOrBeginUpload(registry, blob, await placesOf(registry, blob, options), options));
  if ("mountedFrom" in begun) return { resumedBytes: 0, ...begun };

  let upload = begun;
  let resumedBytes = upload.session.offset;
  let hasLearned = false;
  if (resumedBytes > 0) options.onProgress(resumedBytes);
  for (;;) {
    try {
      await finishUpload(registry, blob, upload, options);
      await forgetUpload(registry, digest);
      // Who says how large chunks are to be did not ask what was noted, and would overwrite it.
      const hasNews = options.chunkBytes === undefined && registry.link.takeNews();
      if (hasLearned || hasNews) await rememberLearned(registry);
      return { resumedBytes };
    } catch (error) {
      // What was interrupted, or broke off, is not given up: the same command goes on with it.
      if (registry.signal.aborted) throw error;
      const hasOtherWay = learnFromRefusal(registry, upload, size, error);
      if (!hasOtherWay && isTransient(error)) throw error;
      await cancelUpload(registry, upload.session);
      await forgetUpload(registry, digest);
      if (!hasOtherWay) throw error;
      hasLearned = true;
      resumedBytes = 0;
      upload = await beginUpload(registry, blob, options);
      options.onProgress(0);
      options.onRefused?.(Math.min(upload.chunkBytes, size));
    }
  }
}

/** Where the blob may be mounted from: where it was seen before all else. */
async function placesOf(
  registry: Registry,
  { descriptor }: RegistryBlob,
  { mayMount = true, mountFrom = [] }: UploadOptions,
): Promise<string[]> {
  if (!mayMount) return [];
  const places = new Set([await recallRepository(registry, descriptor.digest), ...mountFrom]);
  places.delete(registry.repository);
  return [...places].filter((place) => place !== undefined);
}
