import type { ImageOrigin } from "../oci/image.ts";

/** A piece of work whose progress is shown. Bytes count what the task reads or sends. */
export type Task = {
  /** Unique in a push. */
  readonly id: string;
  readonly verb: "saving" | "unpacking" | "compressing" | "checking" | "uploading";
  /** `output.tar`, `layer 2/5 sha256:0123456789ab`, `config sha256:…`. */
  readonly subject: string;
  /** Undefined where nobody knows. */
  readonly totalBytes: number | undefined;
};

/** What happens during a push, for whoever shows it. */
export type PushEvent =
  | {
      readonly type: "image-read";
      readonly source: ImageOrigin;
      readonly names: readonly string[];
      readonly platform: string | undefined;
      readonly layerCount: number;
      /** Undefined where the source does not tell. */
      readonly layerBytes: number | undefined;
      /** The source has names, and the target's is not among them. */
      readonly isNamedOtherwise: boolean;
    }
  | {
      readonly type: "registry-addressed";
      readonly origin: string;
      readonly username: string | undefined;
      /** Where the credentials were found, unless the command said them: `~/.docker/config.json`. */
      readonly credentialsFrom: string | undefined;
      /** Credentials travel a network that others can read along. */
      readonly isExposed: boolean;
      /** Whoever answers is believed to be the registry. */
      readonly isUnverified: boolean;
    }
  /** The source has an index, of which one image is pushed: what is left out. */
  | {
      readonly type: "index-reduced";
      readonly platform: string | undefined;
      readonly platforms: readonly string[];
      readonly attestations: number;
    }
  | { readonly type: "password-awaited" }
  /** The first one of a task says that it has begun. */
  | { readonly type: "task-progress"; readonly task: Task; readonly doneBytes: number }
  | { readonly type: "task-finished"; readonly task: Task; readonly resultBytes: number }
  /** It turned out to be for nothing. */
  | { readonly type: "task-dropped"; readonly task: Task }
  | { readonly type: "layer-cached"; readonly subject: string; readonly sizeBytes: number }
  | {
      readonly type: "blob-present";
      readonly subject: string;
      readonly sizeBytes: number;
      /** The repository that the registry took it from, where that was not the target. */
      readonly mountedFrom: string | undefined;
    }
  /** Another push, with the same cache, does what this one needs. */
  | {
      readonly type: "other-push-awaited";
      readonly subject: string;
      readonly work: "compress" | "upload";
    }
  /** The cache is being pruned. */
  | { readonly type: "cache-awaited" }
  /** Locks do not work in the cache's folder. */
  | { readonly type: "locks-missing"; readonly directory: string; readonly reason: string }
  /** Where uploads stand could not be written down. */
  | { readonly type: "memory-failed"; readonly directory: string; readonly reason: string }
  /** The registry did not take a blob as it was sent. It starts again in bodies of this size. */
  | { readonly type: "body-refused"; readonly subject: string; readonly bodyBytes: number }
  | {
      readonly type: "retrying";
      /** What is tried again, unless it is about the whole push. */
      readonly subject?: string;
      readonly reason: string;
      readonly attempt: number;
      readonly retries: number;
      readonly delayMs: number;
    }
  | {
      readonly type: "pushed";
      readonly reference: string;
      readonly digest: string;
      readonly sentBytes: number;
      readonly presentBytes: number;
    };

/** Takes in what happens. Never throws. */
export type Report = (event: PushEvent) => void;
