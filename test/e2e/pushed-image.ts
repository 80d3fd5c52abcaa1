/** What a registry has of an image, whoever pushed it: read from the registry itself, every byte checked. */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import * as v from "valibot";
import { sha256 } from "../support/sha256.ts";

const TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

const DESCRIPTOR = v.object({ mediaType: v.string(), digest: v.string(), size: v.number() });
const INDEX = v.object({ manifests: v.array(DESCRIPTOR) });
const MANIFEST = v.object({ config: DESCRIPTOR, layers: v.array(DESCRIPTOR) });
const CONFIG = v.object({ rootfs: v.object({ diff_ids: v.array(v.string()) }) });

export type PushedImage = {
  /** Of the manifest or index that the reference names. */
  readonly digest: string;
  /** What each layer decompresses to, one list for each manifest. */
  readonly diffIds: readonly (readonly string[])[];
};

/**
 * Reads an image, or an index and its manifests. Throws where the registry gives out other bytes than a descriptor says,
 * or layers that are not those of the config.
 *
 * @param repository `http://127.0.0.1:<port>/v2/<name>`
 */
export async function readPushed(repository: string, reference: string): Promise<PushedImage> {
  const bytes = await read(`${repository}/manifests/${reference}`);
  const content: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const digest = sha256(bytes);
  if (v.is(INDEX, content)) {
    const parts = await Promise.all(content.manifests.map((part) => readPushed(repository, part.digest)));
    return { digest, diffIds: parts.flatMap(({ diffIds }) => diffIds) };
  }
  const { config, layers } = v.parse(MANIFEST, content);
  const named = v.parse(CONFIG, JSON.parse(new TextDecoder().decode(await readBlob(repository, config))));
  const diffIds = [];
  for (const layer of layers) diffIds.push(sha256(unpack(await readBlob(repository, layer))));
  if (named.rootfs.diff_ids.join() !== diffIds.join())
    throw new Error(`${repository}: the layers are ${diffIds}, but the config has ${named.rootfs.diff_ids}.`);
  return { digest, diffIds: [diffIds] };
}

async function readBlob(repository: string, { digest, size }: v.InferOutput<typeof DESCRIPTOR>) {
  const bytes = await read(`${repository}/blobs/${digest}`);
  if (sha256(bytes) === digest && bytes.length === size) return bytes;
  throw new Error(`The registry gave ${bytes.length} bytes for ${digest} of ${size}, which are not it.`);
}

async function read(url: string): Promise<Uint8Array> {
  const response = await fetch(url, { headers: { accept: TYPES } });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return await response.bytes();
}

/** By what it begins with: media types of foreign content do not tell. */
function unpack(blob: Uint8Array): Uint8Array {
  if (blob[0] === 0x1f && blob[1] === 0x8b) return gunzipSync(blob);
  return blob[0] === 0x28 && blob[1] === 0xb5 ? zstdDecompressSync(blob) : blob;
}
