import { manifestFor } from "../../src/oci/manifest.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { connect } from "../../src/registry/connect.ts";
import { findBlob } from "../../src/registry/find-blob.ts";
import { putManifest } from "../../src/registry/put-manifest.ts";
import { uploadBlob } from "../../src/registry/upload-blob.ts";
import { CHUNK_BYTES, type PreparedImage } from "./prepared-image.ts";

/**
 * A push put together from its parts, which waits no more than two seconds for a server that is silent. The command
 * line waits a minute.
 */
export async function pushImpatiently({ config, layers }: PreparedImage, target: string): Promise<void> {
  const reference = parseReference(target);
  const registry = await connect({
    target: reference,
    credentials: undefined,
    insecure: true,
    retryPolicy: { retries: 5, baseDelayMs: 1, signal: new AbortController().signal, onRetry: () => {} },
    stallTimeoutMs: 2000,
  });
  for (const blob of [config, ...layers]) {
    if ((await findBlob(registry, blob.descriptor.digest)) !== undefined) continue;
    await uploadBlob(registry, blob, { chunkBytes: CHUNK_BYTES, onProgress: () => {} });
  }
  const descriptors = layers.map(({ descriptor }) => descriptor);
  await putManifest(registry, reference.tag, manifestFor(undefined, config.descriptor, descriptors));
}
