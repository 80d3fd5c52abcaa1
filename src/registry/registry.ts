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

/** The bodies that a registry was seen to take after it refused others. */
type Learned = {
  /** The size of the largest body. */
  maxBodyBytes: number | undefined;
  /** The same, as far as answers said so: broken connections are a guess. Only this is noted. */
  toldBodyBytes?: number | undefined;
  /** When the registry last answered so, in milliseconds since 1970. */
  toldAtMs?: number | undefined;
  /**
   * Whether a blob goes up in one PUT, however large: `only` where chunks are refused, `preferred` where they have to
   * be tiny, `refused` where that does not work either.
   */
  wholePuts: "only" | "preferred" | "refused" | undefined;
  /** Whether a PUT must have no body, so that each blob goes up in a PATCH at least. */
  emptyPuts: boolean | undefined;
  /** Whether it claims to have any blob. Set once it was asked for one that nobody has. */
  answersAll?: Promise<boolean> | undefined;
};

/** A request, and what became of it. */
export type Exchange = {
  readonly method: string;
  readonly url: URL;
  readonly bodyBytes: number;
  /** Until the answer's head came, or the failure. */
  readonly durationMs: number;
} & ({ readonly status: number } | { readonly error: unknown });

/** A registry, and how to talk to it. It knows no repository and no single request. */
export type Registry = {
  /** `https://registry.example.com`: credentials go to this origin and to its token server only. */
  readonly origin: string;
  readonly auth: Authenticator;
  /** Sent with every request to the origin, and as secret as a password. */
  readonly headers: ExtraHeaders;
  readonly retries: Retries;
  /** Keeps notes on uploads, on places of blobs and on limits from process to process. */
  readonly notes: NoteFolder;
  /** Limits the questions at a time. */
  readonly asking: Slots;
  /** The questions that `sending` waits for before it chooses the next blob. */
  readonly questions: Set<Promise<unknown>>;
  /** Limits the blobs on their way at a time. */
  readonly sending: Slots;
  readonly learned: Learned;
  readonly link: LinkRate;
  readonly trust: Trust;
  /** Returns the proxy to use for an address. */
  readonly proxy: (url: URL) => string | HttpProxy | undefined;
  /** A request fails after this long without a byte moved or, once all are sent, without an answer. */
  readonly stallTimeoutMs: number;
  /** Called after each request, also after those to token servers and storage. */
  readonly onExchange?: ((exchange: Exchange) => void) | undefined;
};

/** A repository of a registry. */
export type Repository = { readonly registry: Registry; readonly name: string };

/** Returns the repository for requests whose answer matters less: they are retried a few times at most. */
export function withRetries({ registry, name }: Repository, most: number): Repository {
  const { retries } = registry;
  return { registry: { ...registry, retries: { ...retries, count: Math.min(retries.count, most) } }, name };
}

/** Returns the address of a blob: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints */
export function blobUrl({ registry, name }: Repository, digest: Digest): URL {
  return new URL(`${registry.origin}/v2/${name}/blobs/${digest}`);
}

/** Returns the address of what a repository lists: its tags, or what refers to a manifest of it. */
export function listUrl({ registry, name }: Repository, list: "tags/list" | `referrers/${Digest}`): URL {
  return new URL(`${registry.origin}/v2/${name}/${list}`);
}

/** Returns the address where uploads begin. */
export function uploadsUrl({ registry, name }: Repository): URL {
  return new URL(`${registry.origin}/v2/${name}/blobs/uploads/`);
}

/** Returns the address of a manifest, by its tag or digest. */
export function manifestUrl({ registry, name }: Repository, reference: string): URL {
  return new URL(`${registry.origin}/v2/${name}/manifests/${reference}`);
}
