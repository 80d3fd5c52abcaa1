import type { Digest } from "../oci/digest.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { LeftOut } from "../oci/image-index.ts";

/** An opaque ID of a blob within one push. */
export type BlobId = string;

/** A planned blob. Sizes are undefined where they are unknown. */
export type PlannedTitle = BlobTitle & {
  /** The uploaded size. */
  readonly sizeBytes?: number | undefined;
  /** The size in the source, if the blob is compressed before it is uploaded. */
  readonly sourceBytes?: number | undefined;
};

/** A blob's ID and display title: `layer 2/5 sha256:0123456789ab`, `config sha256:…`. */
export type BlobTitle = { readonly id: BlobId; readonly title: string };

/**
 * A blob's state. Byte counts are those of the bytes that the state reads or sends:
 * - `awaiting-compress`, `awaiting-upload`: this push waits while another push with the same cache does the work.
 * - `compressing`, `verifying`: the layer is read, and compressed or compared with its digest.
 * - `ready`: the blob can be uploaded. `how` is the reason.
 * - `unneeded`: the blob was skipped or discarded.
 * - `identified`: the layer turned out to be the blob that was sent under the ID `as`.
 * - `uploading`: `doneBytes` are at the registry or on their way, and the registry has confirmed `keptBytes`.
 * - `done`: the registry has the blob.
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
      /** Undefined while the proxy still receives the blob from a client. */
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

/** A source that was found in the current folder. */
type UnnamedSource = {
  readonly path: string;
  /** The time of its last change. Undefined if unknown. */
  readonly date: Date | undefined;
  /** The names of its image, if none of them is a target's. */
  readonly names: readonly string[];
  /** The targets, in words. */
  readonly target: string;
};

/** An engine's image that has the target's name and was built after the source was written. */
export type NewerImage = {
  readonly name: string;
  /** The engine's name within a sentence. */
  readonly engine: string;
  readonly date: Date;
};

/** A warning or note. The push continues. */
export type Notice =
  /** The push waits for a password on standard input. */
  | { readonly code: "PASSWORD_AWAITED" }
  /** The password is an argument of the command, which other users can see. */
  | { readonly code: "PASSWORD_EXPOSED" }
  /** The push waits for a prune of the cache. */
  | { readonly code: "CACHE_AWAITED" }
  | { readonly code: "LOCKS_UNAVAILABLE"; readonly directory: string; readonly reason: string }
  | { readonly code: "PROGRESS_NOT_SAVED"; readonly directory: string; readonly reason: string }
  /** A file or folder of the cache belongs to another user, or everybody may write to it. It is not read. */
  | { readonly code: "CACHE_DISTRUSTED"; readonly path: string; readonly why: "owner" | "writable" }
  /** The source's index lists more than the pushed image. */
  | ({ readonly code: "INDEX_REDUCED"; readonly platform: string | undefined } & LeftOut)
  /** The source was found by default, and its image has other names than the target. */
  | ({ readonly code: "SOURCE_NAMED_OTHERWISE" } & UnnamedSource)
  /**
   * The source was found by default and may be stale: it is old or undated and has other names than the target, or an
   * engine has a newer image.
   */
  | ({
      readonly code: "SOURCE_STALE";
      readonly newer: NewerImage | undefined;
      /** The command that pushes another image to the same targets. */
      readonly command: string;
    } & UnnamedSource)
  /** The registry refuses the source's manifest. It gets a new one with the same blobs. */
  | { readonly code: "MANIFEST_REFUSED"; readonly digest: Digest; readonly reason: string }
  /** An image of `cacheFrom` could not be read, so none of its layers are reused. */
  | { readonly code: "CACHE_FROM_MISSING"; readonly image: string; readonly reason: string }
  /** The digest differs from that in the source, because layers were compressed or a manifest was refused. */
  | { readonly code: "DIGEST_CHANGED"; readonly from: Digest; readonly to: Digest }
  /** Referrers such as signatures are left out: their subject has a new digest, or the source lacks a part of them. */
  | { readonly code: "REFERRERS_LEFT_OUT"; readonly count: number }
  /** The image is not read from the engine's storage. For debugging. */
  | { readonly code: "STORAGE_UNREAD"; readonly reason: string }
  /** The engine pushes the image to a registry in this process, or saves it. For debugging. */
  | { readonly code: "ENGINE_PUSHES" }
  | { readonly code: "ENGINE_SAVES"; readonly reason: string }
  /** The registry refused a body for its size. The blob starts over in bodies of `bodyBytes`. */
  | ({ readonly code: "BODY_REFUSED"; readonly bodyBytes: number } & BlobTitle)
  /** The caller stops the push. `STOPPED` follows once running chunks have ended. */
  | {
      readonly code: "STOPPING" | "STOPPED";
      /** Confirmed bytes of all blobs that were ready to be sent. */
      readonly keptBytes: number;
      readonly totalBytes: number;
      /** The time that running chunks have to end. Undefined once the push has stopped. */
      readonly withinMs?: number;
    };

/** Something that happens during a push. */
export type PushEvent =
  | {
      readonly type: "registry";
      /** The image is read from this registry. */
      readonly isSource: boolean;
      readonly origin: string;
      readonly username: string | undefined;
      /** The place of the credentials, such as `~/.docker/config.json`. Undefined if the caller gave them. */
      readonly credentialsFrom: string | undefined;
      /** Credentials are sent to another machine over plain HTTP. */
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
  /** An archive is unpacked, a stream is read, or an engine saves its image. */
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
  /** The push knows of every planned blob whether the registry has it. */
  | {
      readonly type: "settled";
      /** Bytes that the registry has of uploads which an earlier push began. */
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
      /** Undefined for a client's push to the proxy. */
      readonly requests?: RequestCount;
      readonly durationMs: number;
    }
  /** A request was answered, or failed. */
  | {
      readonly type: "request";
      readonly method: string;
      /** Without the values of the query, which may be secrets. */
      readonly url: string;
      /** Undefined if no answer came. */
      readonly status: number | undefined;
      /** The reason why no answer came, such as `connection lost`. */
      readonly failure: string | undefined;
      /** The time until the answer's head arrived. */
      readonly durationMs: number;
      /** The size of the request's body. */
      readonly bodyBytes: number;
    };

type RequestCount = {
  /** Requests with a body. */
  readonly bodies: number;
  /** The size of the largest body. */
  readonly largestBytes: number;
  readonly retries: number;
};

/** Receives events. Must not throw. */
export type Report = (event: PushEvent) => void;

/** The events of a type. */
export type EventOf<T extends PushEvent["type"]> = Extract<PushEvent, { type: T }>;
