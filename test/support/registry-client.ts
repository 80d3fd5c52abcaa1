import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MEDIA_TYPE, type RegistryBlob } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { Registry } from "../../src/registry/registry.ts";
import { uploadSlots } from "../../src/registry/upload-slots.ts";
import type { RetryPolicy } from "../../src/retry.ts";

type Retry = Parameters<RetryPolicy["onRetry"]>[0];
export type TestClient = Registry & { readonly seenRetries: Retry[]; readonly abort: AbortController };

export type TestClientOptions = {
  readonly retries?: number;
  readonly authorization?: string;
  readonly stallTimeoutMs?: number;
  readonly memoryDirectory?: string;
  readonly onRetry?: RetryPolicy["onRetry"];
};

/** Where clients remember uploads, unless a test says otherwise. Digests of tests differ, so that one will do. */
const memoryDirectory = mkdtempSync(join(tmpdir(), "chunkpush-test-"));
process.on("exit", () => rmSync(memoryDirectory, { recursive: true, force: true }));

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
    memory: { directory: options.memoryDirectory ?? memoryDirectory },
    slots: uploadSlots(3),
    bodyLimit: { maxBytes: undefined },
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
