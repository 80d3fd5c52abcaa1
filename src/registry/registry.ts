import type { Digest } from "../oci/digest.ts";
import type { RetryPolicy } from "../retry.ts";
import type { Authenticator } from "./auth/authenticator.ts";
import type { Trust } from "./http/trust.ts";
import type { LinkRate } from "./upload/link-rate.ts";
import type { UploadSlots } from "./upload/slots.ts";

/** What a registry was seen to take where something else was refused. */
export type Learned = {
  /** The largest body. */
  maxBodyBytes: number | undefined;
  /**
   * What is known of blobs in one PUT, however large: `only` where chunks are refused, `preferred` where they have to
   * be tiny, `refused` where that does not work either.
   */
  wholePuts: "only" | "preferred" | "refused" | undefined;
};

/** A repository at a registry, and how to talk to it. */
export type Registry = {
  /** `https://registry.example.com`: the only origin, besides its token server, that ever sees who pushes. */
  readonly origin: string;
  readonly repository: string;
  readonly auth: Authenticator;
  readonly retryPolicy: RetryPolicy;
  /**
   * Where it is noted, from process to process, how far uploads are and how large a body may be. The folder must
   * exist. `onFailure` is told whenever something could not be noted.
   */
  readonly memory: { readonly directory: string; readonly onFailure?: (reason: string) => void };
  readonly slots: UploadSlots;
  /** About the bodies that it takes; from all uploads, for all uploads. */
  readonly learned: Learned;
  readonly link: LinkRate;
  readonly trust: Trust;
  /** Without a byte moved, or an answer once all are sent, for so long, a request has failed. */
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal;
};

/** Where a blob is found: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints */
export function blobUrl({ origin, repository }: Registry, digest: Digest): URL {
  return new URL(`${origin}/v2/${repository}/blobs/${digest}`);
}

/** Where uploads begin. */
export function uploadsUrl({ origin, repository }: Registry): URL {
  return new URL(`${origin}/v2/${repository}/blobs/uploads/`);
}

/** Where a manifest goes. */
export function manifestUrl({ origin, repository }: Registry, tag: string): URL {
  return new URL(`${origin}/v2/${repository}/manifests/${tag}`);
}
