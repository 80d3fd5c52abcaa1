import { gunzipSync } from "node:zlib";
import * as v from "valibot";

const MANIFEST = v.object({
  config: v.object({ digest: v.string() }),
  layers: v.array(v.object({ digest: v.string() })),
});

/** What came back: digests that were computed from the bytes received, not read from anywhere. */
export type PulledImage = {
  readonly configDigest: string;
  readonly diffIds: readonly string[];
};

/** Pulls an image as an engine does. Throws where a blob does not have the digest that the manifest gives it. */
export async function pullImage(
  url: string,
  repository: string,
  tag: string,
  authorization: string,
): Promise<PulledImage> {
  const get = async (path: string) => {
    const response = await fetch(`${url}/v2/${repository}/${path}`, { headers: { authorization } });
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}`);
    return response.bytes();
  };
  const getBlob = async (digest: string) => {
    const bytes = await get(`blobs/${digest}`);
    if (sha256(bytes) !== digest) throw new Error(`The blob ${digest} came back as ${sha256(bytes)}.`);
    return bytes;
  };
  const manifest = v.parse(MANIFEST, JSON.parse(new TextDecoder().decode(await get(`manifests/${tag}`))));
  const diffIds: string[] = [];
  // Bun's own gunzipSync stops after the first of several gzip members.
  for (const { digest } of manifest.layers) diffIds.push(sha256(gunzipSync(await getBlob(digest))));
  return {
    configDigest: sha256(await getBlob(manifest.config.digest)),
    diffIds,
  };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
