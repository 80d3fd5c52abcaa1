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
  /** The registry's host in references. */
  readonly host: Reference["host"];
  readonly locks: Locks;
  /** Returns the registry's repository for a client's name. Undefined if the client may not use it. */
  readonly repositoryOf: (name: string) => string | undefined;
  /** Refuses all requests but reads. */
  readonly readOnly: boolean;
  /** The folder where blobs wait for the registry. It must exist. */
  readonly spoolDirectory: string;
  readonly spoolLimitBytes: number;
  /** The port on 127.0.0.1. 0 takes any free one. */
  readonly port: number;
  readonly report: Report;
  /** Repositories of the same registry from which blobs may be mounted. @default none */
  readonly mountFrom?: readonly string[];
  /** Tells whether to refuse a request, before any other work. @default false */
  readonly isRefused?: (request: Request, client: Client) => Promise<boolean>;
  /** Ends all work. */
  readonly signal: AbortSignal;
  /** Ends a request with a chunk at once, while `signal` lets it end. @default `signal` ends it at once */
  readonly abort?: AbortSignal | undefined;
  /** A request is answered at most this long after its last byte: clients give up after 30 s. @default 25000 */
  readonly answerMs?: number;
  /** An upload that its client does not continue is dropped after this long. @default 120000 */
  readonly idleMs?: number;
};

/** A client's upload session: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs */
export type Session = {
  readonly id: string;
  /** The client's name for the repository. */
  readonly name: string;
  readonly at: Repository;
  readonly file: SpoolFile;
  /** The upload to the registry, once it has begun. */
  transfer: Promise<Descriptor> | undefined;
  /** Ends the transfer so that a push of the same blob resumes it. */
  readonly abandon: AbortController;
  /** Set while a request adds bytes. */
  isBusy: boolean;
  /** Set when the session is over. */
  isOver: boolean;
  idle: Timer | undefined;
};

/** The ports of a client's connection. */
export type Client = { readonly fromPort: number; readonly toPort: number };

/** The settings and state that the requests to one proxy share. */
export type Context = Required<Omit<ProxyOptions, "port" | "abort">> & {
  readonly abort: AbortSignal | undefined;
  readonly spool: Spool;
  /** The open uploads of clients, by their IDs. */
  readonly sessions: Map<string, Session>;
  readonly commits: Commits;
  readonly activity: Activity;
  /** Changes the notes on blobs one at a time. */
  readonly noting: Slots;
  /** A summary of the answers to clients; see `Told`. */
  readonly told: { isAsked: boolean; refusal: unknown };
};

/** Returns a repository of the registry. */
export function repositoryAt({ registry }: Context, name: string): Repository {
  return { registry, name };
}

/**
 * Returns the options of requests to the registry.
 *
 * @param blob the blob of the requests
 */
export function callOf({ report, signal }: Context, blob?: BlobTitle): Call {
  return { signal, onRetry: (retry) => report(retryEvent(retry, blob)) };
}
