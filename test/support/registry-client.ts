import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MEDIA_TYPE, type RegistryBlob } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { authenticate } from "../../src/registry/auth/authenticate.ts";
import type { Authenticator } from "../../src/registry/auth/authenticator.ts";
import type { Credentials, RenewCredentials } from "../../src/registry/auth/credentials.ts";
import type { ConnectOptions } from "../../src/registry/connect.ts";
import type { Call, Registry, Repository } from "../../src/registry/registry.ts";
import { registrySlots } from "../../src/registry/slots.ts";
import { type Ensured, type EnsureOptions, ensureBlob } from "../../src/registry/upload/ensure.ts";
import { type LinkRate, linkRate } from "../../src/registry/upload/link-rate.ts";
import {
  type NamedBlob,
  type Outgoing,
  outgoingBlob,
  type UploadGuard,
} from "../../src/registry/upload/outgoing.ts";
import { type SendOptions, type Sent, sendBlob } from "../../src/registry/upload/send-blob.ts";
import type { Retry } from "../../src/retry.ts";
import { openLocks } from "../../src/store/locks.ts";

/** A repository at a registry, and the call with which to ask it. */
export type TestClient = Repository &
  Call & { readonly seenRetries: Retry[]; readonly abort: AbortController };

export type TestClientOptions = {
  readonly repository?: string;
  readonly retries?: number;
  /** One header for every request. */
  readonly authorization?: string;
  /** Replaces `authorization`: as a real push has them. */
  readonly credentials?: Credentials;
  readonly renewCredentials?: RenewCredentials;
  /** The clock by which tokens expire. */
  readonly now?: () => number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly stallTimeoutMs?: number;
  readonly memoryDirectory?: string;
  readonly link?: LinkRate;
  /** Blobs on their way at a time. @default 3 */
  readonly parallel?: number;
  readonly onRetry?: Call["onRetry"];
};

/** Keeps the notes of all clients, unless a test says otherwise. Tests have different digests. */
const memoryDirectory = mkdtempSync(join(tmpdir(), "chunkpush-test-"));
afterAll(() => rmSync(memoryDirectory, { recursive: true, force: true }));

/** Returns a client of the repository `team/app`, with hardly any wait between retries. */
export function clientOf({ url }: { url: string }, options: TestClientOptions = {}): TestClient {
  const abort = new AbortController();
  const seenRetries: Retry[] = [];
  const address: Omit<Registry, "auth"> = {
    origin: url,
    retries: { count: options.retries ?? 5, baseDelayMs: 1 },
    stallTimeoutMs: options.stallTimeoutMs ?? 60_000,
    headers: options.headers ?? {},
    trust: { ca: [] },
    proxy: () => undefined,
    notes: { directory: options.memoryDirectory ?? memoryDirectory },
    ...registrySlots(options.parallel ?? 3),
    learned: { maxBodyBytes: undefined, wholePuts: undefined, emptyPuts: undefined },
    link: options.link ?? linkRate(),
  };
  const auth =
    options.authorization === undefined
      ? authenticate(address, options.credentials, options.renewCredentials, options.now)
      : fixedAuthorization(options.authorization);
  return {
    registry: { ...address, auth },
    name: options.repository ?? "team/app",
    signal: abort.signal,
    onRetry: (retry) => {
      seenRetries.push(retry);
      options.onRetry?.(retry);
    },
    seenRetries,
    abort,
  };
}

/** Returns a client of a registry that `connect` has greeted. */
export function clientAt(registry: Registry, repository = "team/app"): TestClient {
  return { ...clientOf({ url: registry.origin }, { repository }), registry };
}

/** Sends a blob in a slot of the registry. */
export function upload(
  client: Repository & Call,
  blob: RegistryBlob | Outgoing,
  options: Partial<SendOptions> = {},
): Promise<Sent> {
  const outgoing = "content" in blob ? outgoingBlob(blob) : blob;
  const { signal, onRetry } = client;
  const call = { signal, onRetry, chunkBytes: undefined, onProgress: () => {} };
  return client.registry.sending.run(0, (turn) => sendBlob(client, outgoing, { ...call, ...options }, turn));
}

/** Brings a blob to the client's repository. Its locks are in the folder of its notes. */
export function ensure(
  client: Repository & Call,
  blob: RegistryBlob | NamedBlob,
  options: Partial<EnsureOptions> & { readonly guard?: UploadGuard } = {},
): Promise<Ensured> {
  const outgoing = "content" in blob ? outgoingBlob(blob, options.guard) : blob;
  const { signal, onRetry } = client;
  const locks = openLocks(client.registry.notes.directory, signal, (reason) => {
    throw new Error(reason);
  });
  const defaults = { chunkBytes: undefined, onProgress: () => {}, onWaiting: () => {}, locks };
  return ensureBlob(client, outgoing, { signal, onRetry, ...defaults, ...options });
}

function fixedAuthorization(authorization: string): Authenticator {
  return {
    credentials: () => ({ username: "me", password: "secret" }),
    authorization: async () => authorization,
    accepted: () => {},
    renew: async () => undefined,
    secrets: () => [authorization.slice(authorization.indexOf(" ") + 1)],
  };
}

/** Returns a layer of these bytes, ready to be uploaded. */
export function blobOf(bytes: Uint8Array<ArrayBuffer>): RegistryBlob {
  return {
    descriptor: { mediaType: MEDIA_TYPE.layer.gzip, digest: digestOf(bytes), size: bytes.length },
    content: new Blob([bytes]),
  };
}

/** Returns what a later process connects with, in the same folder. */
export function connectOptions(registry: { host: string }, memoryDirectory: string): ConnectOptions {
  const { retries, stallTimeoutMs } = clientOf({ url: "" }).registry;
  return {
    target: parseReference(`${registry.host}/team/app:v1`),
    credentials: undefined,
    insecure: false,
    headers: {},
    trust: { ca: [] },
    proxy: () => undefined,
    retries,
    stallTimeoutMs,
    parallel: 1,
    notes: { directory: memoryDirectory },
  };
}
