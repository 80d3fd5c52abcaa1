import type { Digest } from "../oci/digest.ts";
import type { Retries } from "../retry.ts";
import type { NoteFolder } from "../store/notes.ts";
import type { Authenticator } from "./auth/authenticator.ts";
import type { ExtraHeaders } from "./http/extra-headers.ts";
import type { HttpProxy } from "./http/proxy.ts";
import type { Trust } from "./http/trust.ts";
import type { Slots } from "./slots.ts";
import type { LinkRate } from "./upload/link-rate.ts";

export type { Call } from "../retry.ts";

/** The request bodies that a registry accepts, as its refusals have shown. */
type Learned = {
  /** The largest body, in bytes. */
  maxBodyBytes: number | undefined;
  /** The same according to answers alone: broken connections are a guess. Only this one is saved. */
  toldBodyBytes?: number | undefined;
  /** The time of the last such answer, in milliseconds since 1970. */
  toldAtMs?: number | undefined;
  /**
   * Whether to send a blob of any size in one PUT: `only` if the registry refuses chunks, `preferred` if it accepts only
   * tiny ones, `refused` if it refuses the PUT as well.
   */
  wholePuts: "only" | "preferred" | "refused" | undefined;
  /** Whether a PUT must have no body. Then each blob needs a PATCH. */
  emptyPuts: boolean | undefined;
  /** Whether the registry claims to have any blob. Set after a request for a random digest. */
  answersAll?: Promise<boolean> | undefined;
};

/** A request and its outcome. */
export type Exchange = {
  readonly method: string;
  readonly url: URL;
  readonly bodyBytes: number;
  /** The time until the answer's headers, or until the failure. */
  readonly durationMs: number;
} & ({ readonly status: number } | { readonly error: unknown });

/** A registry, with the settings and state of all requests to it. */
export type Registry = {
  /** Such as `https://registry.example.com`. Only this origin and its token server get the credentials. */
  readonly origin: string;
  readonly auth: Authenticator;
  /** Sent with every request to the origin, and kept as secret as a password. */
  readonly headers: ExtraHeaders;
  readonly retries: Retries;
  /** The folder of notes on uploads, on places of blobs and on limits, which outlive the process. */
  readonly notes: NoteFolder;
  /** Limits the concurrent questions, such as HEAD requests. */
  readonly asking: Slots;
  /** The questions that `sending` waits for before it chooses the next blob. */
  readonly questions: Set<Promise<unknown>>;
  /** Limits the concurrent uploads of blobs. */
  readonly sending: Slots;
  readonly learned: Learned;
  readonly link: LinkRate;
  readonly trust: Trust;
  /** Returns the HTTP proxy for an address. */
  readonly proxy: (url: URL) => string | HttpProxy | undefined;
  /** A request fails after this long without a byte moved or, once all are sent, without an answer. */
  readonly stallTimeoutMs: number;
  /** Called after each request, including those to token servers and storage. */
  readonly onExchange?: ((exchange: Exchange) => void) | undefined;
};

/** A repository of a registry. */
export type Repository = { readonly registry: Registry; readonly name: string };

/** The retries of a request that the push can do without. */
const FEW_RETRIES = 2;

/** Returns a repository for requests that the push can do without: they are retried less often. */
export function withFewRetries({ registry, name }: Repository): Repository {
  const count = Math.min(registry.retries.count, FEW_RETRIES);
  return { registry: { ...registry, retries: { ...registry.retries, count } }, name };
}

/** Returns the address of a blob: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints */
export function blobUrl({ registry, name }: Repository, digest: Digest): URL {
  return new URL(`${registry.origin}/v2/${name}/blobs/${digest}`);
}

/** Returns the address of a repository's list of tags, or of a manifest's referrers. */
export function listUrl({ registry, name }: Repository, list: "tags/list" | `referrers/${Digest}`): URL {
  return new URL(`${registry.origin}/v2/${name}/${list}`);
}

/** Returns the address at which uploads begin. */
export function uploadsUrl({ registry, name }: Repository): URL {
  return new URL(`${registry.origin}/v2/${name}/blobs/uploads/`);
}

/** Returns the address of a manifest by its tag or digest. */
export function manifestUrl({ registry, name }: Repository, reference: string): URL {
  return new URL(`${registry.origin}/v2/${name}/manifests/${reference}`);
}
