import type { Descriptor } from "../oci/descriptor.ts";
import type { Reference } from "../oci/reference.ts";
import type { Call, Registry, Repository } from "../registry/registry.ts";
import type { Slots } from "../registry/slots.ts";
import type { SendOptions } from "../registry/upload/send-blob.ts";
import type { BlobTitle, Report } from "../report/events.ts";
import { retryEvent } from "../report/retry-event.ts";
import type { Locks } from "../store/locks.ts";
import type { Activity } from "./activity.ts";
import type { Commits } from "./commits.ts";
import type { Spool, SpoolFile } from "./spool.ts";

export type ProxyOptions = Required<Pick<SendOptions, "chunkBytes" | "allowOversize">> & {
  readonly registry: Registry;
  /** The registry's host, as references have it. */
  readonly host: Reference["host"];
  readonly locks: Locks;
  /** Returns the registry's repository for a client's name. Undefined: the client may not use it. */
  readonly repositoryOf: (name: string) => string | undefined;
  /** Refuses everything but reading. */
  readonly readOnly: boolean;
  /** The folder where blobs wait for the registry. It must exist. */
  readonly spoolDirectory: string;
  readonly spoolLimitBytes: number;
  /** The port on 127.0.0.1. 0 takes any free one. */
  readonly port: number;
  readonly report: Report;
  /** Repositories of the same registry from which blobs may be mounted. @default none */
  readonly mountFrom?: readonly string[];
  /** Tells whether a request is refused, before anything is done for it. @default none is */
  readonly isRefused?: (request: Request, client: Client) => Promise<boolean>;
  /** Ends all work. */
  readonly signal: AbortSignal;
  /** Ends a request with a chunk at once, while `signal` lets it end. @default `signal` ends it at once */
  readonly abort?: AbortSignal | undefined;
  /** A request is answered this long after its last byte: clients give up after 30 s. @default 25000 */
  readonly answerMs?: number;
  /** An upload that no client goes on with is dropped after this long. @default 120000 */
  readonly idleMs?: number;
};

/** An upload of a client: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs */
export type Session = {
  readonly id: string;
  /** The client's name for the repository. */
  readonly name: string;
  readonly at: Repository;
  readonly file: SpoolFile;
  /** The upload to the registry, once it has begun. */
  transfer: Promise<Descriptor> | undefined;
  /** Ends a transfer so that the same blob resumes it. */
  readonly abandon: AbortController;
  /** A request adds bytes. */
  isBusy: boolean;
  /** Set when the session is over. */
  isOver: boolean;
  idle: Timer | undefined;
};

/** The ports that a client's connection has. */
export type Client = { readonly fromPort: number; readonly toPort: number };

/** What the requests to one proxy share. */
export type Context = Required<Omit<ProxyOptions, "port" | "abort">> & {
  readonly abort: AbortSignal | undefined;
  readonly spool: Spool;
  /** Uploads that clients have begun, by their ID. */
  readonly sessions: Map<string, Session>;
  readonly commits: Commits;
  readonly activity: Activity;
  /** Lets notes on blobs be changed one after the other. */
  readonly noting: Slots;
  /** What clients were told. */
  readonly told: { isAsked: boolean; refusal: unknown };
};

/** Returns a repository of the registry. */
export function repositoryAt({ registry }: Context, name: string): Repository {
  return { registry, name };
}

/**
 * Returns the options of requests to the registry.
 *
 * @param blob the one that it is about
 */
export function callOf({ report, signal }: Context, blob?: BlobTitle): Call {
  return { signal, onRetry: (retry) => report(retryEvent(retry, blob)) };
}
