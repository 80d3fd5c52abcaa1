import { MEDIA_TYPE, type RegistryBlob } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { Registry } from "../../src/registry/registry.ts";
import type { RetryPolicy } from "../../src/retry.ts";

type Retry = Parameters<RetryPolicy["onRetry"]>[0];
export type TestClient = Registry & { readonly seenRetries: Retry[]; readonly abort: AbortController };

export type TestClientOptions = {
  readonly retries?: number;
  readonly authorization?: string;
  readonly stallTimeoutMs?: number;
  readonly onRetry?: RetryPolicy["onRetry"];
};

/** What the client's functions are called with: a registry at an origin, with hardly any wait between retries. */
export function clientOf({ url }: { url: string }, options: TestClientOptions = {}): TestClient {
  const abort = new AbortController();
  const seenRetries: Retry[] = [];
  return {
    origin: url,
    repository: "team/app",
    authorization: options.authorization,
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
    signal: abort.signal,
    seenRetries,
    abort,
  };
}

/** A layer of these bytes, ready to be uploaded. */
export function blobOf(bytes: Uint8Array<ArrayBuffer>): RegistryBlob {
  return {
    descriptor: { mediaType: MEDIA_TYPE.layer.gzip, digest: digestOf(bytes), size: bytes.length },
    content: new Blob([bytes]),
  };
}
