import * as v from "valibot";
import { startStrictRegistry } from "../../dev/registry/registry.ts";
import { waitFor } from "../support/command.ts";
import { type LoggedRequest, startDockerRegistry } from "../support/docker-registry.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** The largest chunk in these tests, and the largest body that the strict registry takes. */
export const CHUNK_BYTES = 1_000_000;

/** A registry that tells what chunkpush asked of it. */
export type LoggedRegistry = AsyncDisposable & {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** Every request about a repository, up to the one that put its tag. */
  pushRequests(repository: string, tag: string): Promise<LoggedRequest[]>;
  /** The sizes of all bodies that came in, where the registry tells them. */
  readonly bodySizes: () => readonly number[];
};

export const LOGGED_REGISTRIES = {
  "docker-registry": async (): Promise<LoggedRegistry> => {
    const registry = await startDockerRegistry();
    return loggedRegistry(
      registry,
      () => registry.requests(),
      () => [],
    );
  },
  "the strict registry": async (): Promise<LoggedRegistry> => {
    await using resources = new AsyncDisposableStack();
    const { path: directory } = resources.use(await temporaryFolder());
    const registry = resources.use(
      await startStrictRegistry({ directory, minChunkBytes: CHUNK_BYTES / 2, maxChunkBytes: CHUNK_BYTES }),
    );
    const owned = resources.move();
    return loggedRegistry(
      { host: registry.host, [Symbol.asyncDispose]: () => owned.disposeAsync() },
      async () =>
        registry.requests.map(({ method, path, query, status }) => ({ method, path: path + query, status })),
      () => registry.requests.map(({ bodyBytes }) => bodyBytes),
    );
  },
} as const;

function loggedRegistry(
  registry: AsyncDisposable & { readonly host: string },
  requests: () => Promise<LoggedRequest[]>,
  bodySizes: () => readonly number[],
): LoggedRegistry {
  return {
    host: registry.host,
    bodySizes,
    pushRequests: (repository, tag) =>
      // A log's line may come a moment after the answer.
      waitFor(`the log of ${repository}:${tag}`, async () => {
        const own = (await requests()).filter(({ path }) => path.startsWith(`/v2/${repository}/`));
        const isPut = own.some(({ method, path }) => method === "PUT" && path.endsWith(`/manifests/${tag}`));
        return isPut ? own : undefined;
      }),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

/** The digests of the blobs whose upload was closed, sorted. */
export function uploadedDigests(requests: readonly LoggedRequest[]): string[] {
  return requests
    .filter(({ method, path }) => method === "PUT" && path.includes("/blobs/uploads/"))
    .map(({ path }) => v.parse(v.string(), new URL(path, "http://registry").searchParams.get("digest")))
    .sort();
}
