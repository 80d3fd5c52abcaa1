import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MEDIA_TYPE, type RegistryBlob } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { authenticate } from "../../src/registry/auth/authenticate.ts";
import type { Authenticator } from "../../src/registry/auth/authenticator.ts";
import type { Credentials } from "../../src/registry/auth/credentials.ts";
import type { Registry } from "../../src/registry/registry.ts";
import { type LinkRate, linkRate } from "../../src/registry/upload/link-rate.ts";
import { uploadSlots } from "../../src/registry/upload/slots.ts";
import type { RetryPolicy } from "../../src/retry.ts";

type Retry = Parameters<RetryPolicy["onRetry"]>[0];
export type TestClient = Registry & { readonly seenRetries: Retry[]; readonly abort: AbortController };

export type TestClientOptions = {
  readonly retries?: number;
  /** One header for ever. */
  readonly authorization?: string;
  /** In place of `authorization`: as a real push has them. */
  readonly credentials?: Credentials;
  /** The clock by which tokens end. */
  readonly now?: () => number;
  readonly stallTimeoutMs?: number;
  readonly memoryDirectory?: string;
  readonly link?: LinkRate;
  readonly onRetry?: RetryPolicy["onRetry"];
};

/** Where clients remember uploads, unless a test says otherwise. Digests of tests differ, so that one will do. */
const memoryDirectory = mkdtempSync(join(tmpdir(), "chunkpush-test-"));
process.on("exit", () => rmSync(memoryDirectory, { recursive: true, force: true }));

/** What the client's functions are called with: a registry at an origin, with hardly any wait between retries. */
export function clientOf({ url }: { url: string }, options: TestClientOptions = {}): TestClient {
  const abort = new AbortController();
  const seenRetries: Retry[] = [];
  const address: Omit<Registry, "auth"> = {
    origin: url,
    repository: "team/app",
    retryPolicy: {
      retries: options.retries ?? 5,
      baseDelayMs: 1,
      signal: abort.signal,
      onRetry: (retry) => {
        seenRetries.push(retry);
        options.onRetry?.(retry);
      },
    },
    stallTimeoutMs: options.stallTimeoutMs ?? 60_000,
    trust: { ca: [] },
    memory: { directory: options.memoryDirectory ?? memoryDirectory },
    slots: uploadSlots(3),
    learned: { maxBodyBytes: undefined, wholePuts: undefined },
    link: options.link ?? linkRate(),
    signal: abort.signal,
  };
  const auth =
    options.authorization === undefined
      ? authenticate(address, options.credentials, options.now)
      : fixedAuthorization(options.authorization);
  return { ...address, auth, seenRetries, abort };
}

function fixedAuthorization(authorization: string): Authenticator {
  return {
    isAnonymous: false,
    authorization: async () => authorization,
    renew: async () => undefined,
    secrets: () => [authorization.slice(authorization.indexOf(" ") + 1)],
  };
}

/** A layer of these bytes, ready to be uploaded. */
export function blobOf(bytes: Uint8Array<ArrayBuffer>): RegistryBlob {
  return {
    descriptor: { mediaType: MEDIA_TYPE.layer.gzip, digest: digestOf(bytes), size: bytes.length },
    content: new Blob([bytes]),
  };
}

/** What a later process connects with, in the same folder, and without retries that take long. */
export function connectOptions(registry: { url: string; host: string }, memoryDirectory: string) {
  const { retryPolicy, stallTimeoutMs } = clientOf(registry);
  return {
    target: parseReference(`${registry.host}/team/app:v1`),
    credentials: undefined,
    insecure: false,
    trust: { ca: [] },
    retryPolicy,
    stallTimeoutMs,
    parallel: 1,
    memory: { directory: memoryDirectory },
  };
}
