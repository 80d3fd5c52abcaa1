import type { Digest } from "../oci/digest.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";

/** An opaque ID of a blob within one push. */
export type BlobId = string;

/** A planned blob. Sizes are undefined where they are unknown. */
export type PlannedTitle = BlobTitle & {
  /** The size that goes up. */
  readonly sizeBytes?: number | undefined;
  /** The size in the source, where that is another: the blob is compressed. */
  readonly sourceBytes?: number | undefined;
};

/** A blob's ID and display title: `layer 2/5 sha256:0123456789ab`, `config sha256:…`. */
export type BlobTitle = { readonly id: BlobId; readonly title: string };

/**
 * A blob's state. Bytes count what the state reads or sends:
 * - `awaiting-compress`, `awaiting-upload`: another push with the same cache does this work; this one waits for it.
 * - `compressing`, `verifying`: the layer is read, and compressed or checked against its digest.
 * - `ready`: it can go up. `how` says why.
 * - `unneeded`: it was skipped or discarded.
 * - `identified`: the layer is a blob that was sent under another ID, before it was known which layer it is.
 * - `uploading`: `doneBytes` are at the registry or on their way, and the registry has confirmed `keptBytes`.
 * - `done`: the registry has it.
 */
export type BlobState =
  | { readonly state: "awaiting-compress" | "awaiting-upload" | "unneeded" }
  | { readonly state: "identified"; readonly as: BlobId }
  | {
      readonly state: "compressing" | "verifying";
      readonly doneBytes: number;
      /** Undefined if unknown. */
      readonly totalBytes: number | undefined;
    }
  | {
      readonly state: "uploading";
      readonly doneBytes: number;
      readonly keptBytes: number;
      /** The current chunk size. It may change during the upload, and be larger than the blob. */
      readonly chunkBytes: number;
      /** Undefined while the blob is still coming, from a client of the proxy. */
      readonly totalBytes: number | undefined;
    }
  | {
      readonly state: "ready";
      readonly how: "cached" | "compressed" | "verified";
      /** The size in the source. */
      readonly totalBytes: number;
      /** The uploaded size. */
      readonly sizeBytes: number;
    }
  | { readonly state: "done"; readonly how: "present"; readonly sizeBytes: number }
  | {
      readonly state: "done";
      readonly how: "mounted";
      readonly sizeBytes: number | undefined;
      readonly from: string;
    }
  | { readonly state: "done"; readonly how: "sent"; readonly sizeBytes: number; readonly sentBytes: number };

/** A source that was found in the working folder. */
type UnnamedSource = {
  readonly path: string;
  /** When it was written. Undefined if unknown. */
  readonly date: Date | undefined;
  /** The names of its image, if none means a target. */
  readonly names: readonly string[];
  /** The targets, in words. */
  readonly target: string;
};

/** An engine's image of the target's name that was built after the source was written. */
export type NewerImage = {
  readonly name: string;
  /** The engine's name within a sentence. */
  readonly engine: string;
  readonly date: Date;
};

/** A warning or note. The push continues. */
export type Notice =
  /** Standard input gives no password yet. */
  | { readonly code: "PASSWORD_AWAITED" }
  /** The password is an argument of the command. */
  | { readonly code: "PASSWORD_EXPOSED" }
  /** The push waits for a prune of the cache. */
  | { readonly code: "CACHE_AWAITED" }
  | { readonly code: "LOCKS_UNAVAILABLE"; readonly directory: string; readonly reason: string }
  | { readonly code: "PROGRESS_NOT_SAVED"; readonly directory: string; readonly reason: string }
  /** The file or folder of the cache belongs to another user, or everybody may write to it. Nothing like it is read. */
  | { readonly code: "CACHE_DISTRUSTED"; readonly path: string; readonly why: "owner" | "writable" }
  /** The source's index lists more than the pushed image. */
  | ({ readonly code: "INDEX_REDUCED"; readonly platform: string | undefined } & LeftOut)
  /** Nobody named the source, and its image has other names than the target. */
  | ({ readonly code: "SOURCE_NAMED_OTHERWISE" } & UnnamedSource)
  /**
   * Nobody named the source, and it may not be meant: it is old or undated and has other names than the target, or an
   * engine has a newer image.
   */
  | ({
      readonly code: "SOURCE_STALE";
      readonly newer: NewerImage | undefined;
      /** The command that pushes another image to the same targets. */
      readonly command: string;
    } & UnnamedSource)
  /** The registry does not take the source's manifest as it is. It gets another one, with the same blobs. */
  | { readonly code: "MANIFEST_REFUSED"; readonly digest: Digest; readonly reason: string }
  /** Nothing could be read of an image of `cacheFrom`: no layer of it is reused. */
  | { readonly code: "CACHE_FROM_MISSING"; readonly image: string; readonly reason: string }
  /** What was published has another digest than in the source, because layers were compressed or a manifest was refused. */
  | { readonly code: "DIGEST_CHANGED"; readonly from: Digest; readonly to: Digest }
  /** Signatures and the like are not pushed: what they are about has got another digest, or they are not whole in the source. */
  | { readonly code: "REFERRERS_LEFT_OUT"; readonly count: number }
  /** The image is not read where the engine keeps it. For debugging. */
  | { readonly code: "STORAGE_UNREAD"; readonly reason: string }
  /** The engine pushes the image itself, through a registry of this process. Or it saves the image. For debugging. */
  | { readonly code: "ENGINE_PUSHES" }
  | { readonly code: "ENGINE_SAVES"; readonly reason: string }
  /** The registry refused a body for its size. The blob starts again in bodies of this size. */
  | ({ readonly code: "BODY_REFUSED"; readonly bodyBytes: number } & BlobTitle)
  /** The caller stops the push. Chunks that are on their way may end: `STOPPED` tells what is kept then. */
  | {
      readonly code: "STOPPING" | "STOPPED";
      /** Bytes that the registry has confirmed, of all blobs that were ready to be sent. */
      readonly keptBytes: number;
      readonly totalBytes: number;
      /** How long running chunks may take. Undefined when the push has stopped. */
      readonly withinMs?: number;
    };

/** Something that happens during a push. */
export type PushEvent =
  | {
      readonly type: "registry";
      /** The image is read from there. */
      readonly isSource: boolean;
      readonly origin: string;
      readonly username: string | undefined;
      /** The place where the credentials were found, unless the caller gave them: `~/.docker/config.json`. */
      readonly credentialsFrom: string | undefined;
      /** Credentials go over plain HTTP to another machine. */
      readonly isExposed: boolean;
      /** The registry's certificate is not verified. */
      readonly isUnverified: boolean;
    }
  | {
      readonly type: "source";
      readonly origin: ImageOrigin;
      readonly names: readonly string[];
      readonly platform: string | undefined;
      readonly layerCount: number;
      /** Undefined if unknown. */
      readonly layerBytes: number | undefined;
      /** The source has names, and the target's is not among them. */
      readonly isNamedOtherwise: boolean;
    }
  /** An archive is unpacked or read as it comes, or an engine saves its image. */
  | {
      readonly type: "reading";
      readonly how: "unpack" | "read" | "save";
      readonly name: string;
      readonly doneBytes: number;
      /** Undefined if unknown. */
      readonly totalBytes: number | undefined;
      readonly isDone: boolean;
    }
  /** The blobs known before the source is read. */
  | { readonly type: "planned"; readonly blobs: readonly PlannedTitle[] }
  /** It is known of every planned blob whether the registry has it. */
  | {
      readonly type: "settled";
      /** Bytes at the registry of blobs whose upload an earlier push has begun. */
      readonly resumableBytes: number;
    }
  | ({ readonly type: "blob" } & BlobTitle & BlobState)
  | {
      readonly type: "retry";
      /** The blob's ID and title. Undefined if the retry concerns no single blob. */
      readonly id: BlobId | undefined;
      readonly title: string | undefined;
      readonly error: unknown;
      /** The error in a word or two: `503`, `connection lost`. */
      readonly reason: string;
      /** The bytes of the blob that the registry has. Undefined if no upload has begun. */
      readonly offsetBytes?: number | undefined;
      readonly attempt: number;
      readonly retries: number;
      readonly delayMs: number;
    }
  | ({ readonly type: "notice" } & Notice)
  | {
      readonly type: "pushed";
      readonly reference: string;
      readonly digest: Digest;
      readonly sentBytes: number;
      readonly presentBytes: number;
      /** The requests that had a body, and the size of the largest body. Undefined for a client's push to the proxy. */
      readonly requests?: RequestCount;
      readonly durationMs: number;
    }
  /** A request was answered, or failed. */
  | {
      readonly type: "request";
      readonly method: string;
      /** Without the values of its query, which may be secrets. */
      readonly url: string;
      /** Undefined if no answer came. */
      readonly status: number | undefined;
      /** Why no answer came: `connection lost`. */
      readonly failure: string | undefined;
      /** Until the answer's head came. */
      readonly durationMs: number;
      /** The size of the request's body. */
      readonly bodyBytes: number;
    };

/** Counts a push's requests. */
type RequestCount = {
  readonly bodies: number;
  readonly largestBytes: number;
  readonly retries: number;
};

/** Receives events. Must not throw. */
export type Report = (event: PushEvent) => void;
