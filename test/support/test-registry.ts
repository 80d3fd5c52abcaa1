import { expect } from "bun:test";
import type { RequestRecord } from "../../dev/registry/answer-request.ts";
import {
  type StrictRegistry,
  type StrictRegistryOptions,
  startStrictRegistry,
} from "../../dev/registry/registry.ts";
import type { RequestKind } from "../../dev/registry/route.ts";
import type { RegistryBlob } from "../../src/oci/descriptor.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** The smallest chunks that a registry may ask for: few bytes are many chunks. */
export const MIN_CHUNK = 1024;
export const MAX_CHUNK = 64 * 1024;

export type TestRegistry = StrictRegistry & {
  /** Where it keeps everything. */
  directory: string;
  /** The requests of one kind, in the order in which they finished. */
  recorded(kind: RequestKind): RequestRecord[];
  /** What is stored under a digest, read back over HTTP. */
  pullBlob(repository: string, digest: string): Promise<Uint8Array<ArrayBuffer>>;
  /** The tag's manifest as text, or undefined where nothing is tagged. */
  pullManifest(repository: string, tag: string): Promise<string | undefined>;
};

/** A strict registry with small chunks and a disk of its own. */
export async function startTestRegistry(options: Partial<StrictRegistryOptions> = {}): Promise<TestRegistry> {
  const folder = await temporaryFolder();
  const registry = await startStrictRegistry({
    directory: folder.path,
    minChunkBytes: MIN_CHUNK,
    maxChunkBytes: MAX_CHUNK,
    ...options,
  });
  const { credentials, tokens } = options;
  const pull = (path: string) => {
    const headers = new Headers();
    if (credentials) headers.set("authorization", basic(credentials.username, credentials.password));
    const repository = /^\/v2\/(.*)\/(?:blobs|manifests)\//.exec(path)?.[1];
    if (tokens) headers.set("authorization", `Bearer ${tokens.issue([`repository:${repository}:pull`])}`);
    return fetch(registry.url + path, { headers });
  };
  return {
    ...registry,
    directory: folder.path,
    recorded: (kind) => registry.requests.filter((record) => record.kind === kind),
    async pullBlob(repository, digest) {
      const response = await pull(`/v2/${repository}/blobs/${digest}`);
      if (response.status !== 200) throw new Error(`GET ${digest} answered ${response.status}`);
      return new Uint8Array(await response.arrayBuffer());
    },
    async pullManifest(repository, tag) {
      const response = await pull(`/v2/${repository}/manifests/${tag}`);
      return response.status === 200 ? response.text() : undefined;
    },
    async [Symbol.asyncDispose]() {
      await registry.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The registry has every byte of a blob. */
export async function expectStored(
  registry: TestRegistry,
  { descriptor, content }: RegistryBlob,
  repository = "team/app",
): Promise<void> {
  const stored = await registry.pullBlob(repository, descriptor.digest);
  expect(Buffer.compare(stored, await content.bytes())).toBe(0);
}

/** The header of RFC 7617, in UTF-8. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
