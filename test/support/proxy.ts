import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ProxyOptions } from "../../src/proxy/context.ts";
import { startProxy } from "../../src/proxy/proxy.ts";
import type { PushEvent } from "../../src/report/events.ts";
import { openLocks } from "../../src/store/locks.ts";
import { clientOf, type TestClientOptions } from "./registry-client.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A proxy before a registry, with a cache of its own. */
export type TestProxy = AsyncDisposable & {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** The folder of its notes and locks, and of its spool unless the options name another. */
  readonly cache: string;
  /** Everything that it reported. */
  readonly events: PushEvent[];
  /** Sends a request to a path such as `/v2/`. */
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Returns how many blobs are in the spool, and how many bytes. */
  spooled(): Promise<{ readonly count: number; readonly bytes: number }>;
  /** Waits until the registry has every blob. @returns the failures that no client was told of */
  settled(): Promise<unknown[]>;
};

export type TestProxyOptions = Partial<ProxyOptions> &
  Pick<TestClientOptions, "retries" | "credentials" | "stallTimeoutMs"> & {
    /** The cache of an earlier proxy. @default one of its own, which goes with the proxy */
    readonly cache?: string;
    /** Blobs on their way at a time. @default 3 */
    readonly parallel?: number;
  };

export async function startTestProxy(
  upstream: { readonly url: string },
  { cache: earlier, parallel, retries, credentials, stallTimeoutMs, ...options }: TestProxyOptions = {},
): Promise<TestProxy> {
  await using resources = new AsyncDisposableStack();
  const cache = earlier ?? resources.use(await temporaryFolder()).path;
  const client = clientOf(upstream, {
    memoryDirectory: cache,
    ...(parallel !== undefined && { parallel }),
    ...(retries !== undefined && { retries }),
    ...(credentials !== undefined && { credentials }),
    ...(stallTimeoutMs !== undefined && { stallTimeoutMs }),
  });
  const { signal } = client.abort;
  const events: PushEvent[] = [];
  const spoolDirectory = options.spoolDirectory ?? cache;
  const proxy = resources.use(
    startProxy({
      registry: client.registry,
      host: "registry.example.com",
      locks: openLocks(cache, signal, (reason) => {
        throw new Error(reason);
      }),
      repositoryOf: (name) => name,
      readOnly: false,
      spoolDirectory,
      spoolLimitBytes: 1_000_000_000,
      port: 0,
      chunkBytes: undefined,
      allowOversize: false,
      report: (event) => events.push(event),
      signal,
      ...options,
    }),
  );
  const host = `127.0.0.1:${proxy.port}`;
  const owned = resources.move();
  return {
    url: `http://${host}`,
    host,
    cache,
    events,
    request: (path, init) => fetch(new URL(path, `http://${host}`), init),
    async spooled() {
      const names = (await readdir(spoolDirectory)).filter((name) => name.startsWith("spool-"));
      const sizes = await Promise.all(
        names.map(async (name) => (await stat(join(spoolDirectory, name)).catch(() => undefined))?.size ?? 0),
      );
      return { count: names.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
    },
    settled: () => proxy.settled(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
