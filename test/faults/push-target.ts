import { startStrictRegistry } from "../../dev/registry/registry.ts";
import { startDockerRegistry } from "../e2e/docker-registry.ts";
import { pulledImage } from "../e2e/read-back.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CHUNK_BYTES, type PreparedImage } from "./prepared-image.ts";

/** A registry to put behind a fault proxy. */
export type PushTarget = AsyncDisposable & {
  /** `127.0.0.1:<port>`, which a restart changes. */
  readonly host: () => string;
  /** Whether an upload goes on after the answer to a PATCH was lost. */
  readonly resumes: boolean;
  /** Breaks every connection, and goes on from what is on the disk. */
  restart(): Promise<void>;
};

export async function strictTarget(): Promise<PushTarget> {
  const { path: directory, [Symbol.asyncDispose]: removeFolder } = await temporaryFolder();
  const start = () =>
    startStrictRegistry({ directory, minChunkBytes: CHUNK_BYTES / 2, maxChunkBytes: CHUNK_BYTES });
  let registry = await start();
  return {
    host: () => registry.host,
    resumes: true,
    async restart() {
      await registry.stop();
      registry = await start();
    },
    async [Symbol.asyncDispose]() {
      await registry.stop();
      await removeFolder();
    },
  };
}

/**
 * The real one, which tests share: each with a repository of its own. Version 2.8 puts a signed state into every
 * `Location`, and knows of no upload that is named with an older one (404 BLOB_UPLOAD_INVALID): where a chunk
 * arrived and its answer did not, the blob has to start again.
 */
export async function dockerTarget(): Promise<PushTarget> {
  const registry = await startDockerRegistry();
  return {
    host: () => registry.host,
    resumes: false,
    restart: () => Promise.reject(new Error("It is shared, and not to be restarted.")),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

/** Tells what is wrong with an image in a registry. Undefined: every byte is as it was pushed. */
export async function whatDiffers(
  { host }: PushTarget,
  repository: string,
  { image }: Pick<PreparedImage, "image">,
): Promise<string | undefined> {
  const ask = async (path: string) => {
    const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
    const response = await fetch(`http://${host()}/v2/${repository}/${path}`, { headers });
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}.`);
    return response.bytes();
  };
  try {
    const pulled = await pulledImage(await ask("manifests/v1"), (digest) => ask(`blobs/${digest}`));
    if (!Buffer.from(pulled.config).equals(image.config)) return "another config";
    if (pulled.diffIds.join() !== image.diffIds.join()) return "other layers";
    return undefined;
  } catch (error) {
    return String(error);
  }
}
