import * as v from "valibot";
import { PushError } from "../errors.ts";
import type { Content, StoredBlob } from "../oci/content.ts";
import { FOREIGN_TYPE } from "../oci/descriptor.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { parseIndex } from "../oci/image-index.ts";
import { object, parseJson } from "../oci/json-schema.ts";
import type { Manifest } from "../oci/manifest.ts";
import { readBlob } from "./read-blob.ts";
import { readManifest } from "./read-manifest.ts";
import type { Call, Repository } from "./registry.ts";

/** Indexes may list indexes; real ones nest once. The limits protect against malicious registries. */
const MAX_DEPTH = 4;
const MAX_MANIFESTS = 1000;
const MAX_BYTES = 64 * 1024 * 1024;

const BLOB = object({
  mediaType: v.fallback(v.string(), ""),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  urls: v.fallback(v.nullish(v.array(v.string())), undefined),
});
const MANIFEST = object({
  manifests: v.optional(v.unknown()),
  config: v.nullish(BLOB),
  layers: v.nullish(v.array(BLOB)),
  blobs: v.nullish(v.array(BLOB)),
});

/**
 * Reads the manifests below a manifest. Blobs are read later, on demand. Throws `IMAGE_INVALID`, and the errors of
 * `readManifest`.
 */
export async function readContent(at: Repository, root: Manifest, call: Call): Promise<Content> {
  const seen = new Map<Digest, Promise<Content | undefined>>();
  /** The number of manifests below an index. A tree may have one manifest in many places. */
  const counts = new Map<Content, number>();
  let bytes = 0;

  async function parse(manifest: Manifest, depth: number): Promise<Content> {
    const name = `${at.name}@${manifest.digest} at ${at.registry.origin}`;
    const refuse = (what: string) => new PushError("IMAGE_INVALID", `Cannot read ${name}: ${what}.`);
    bytes += manifest.bytes.length;
    if (depth > MAX_DEPTH) throw refuse("its indexes are nested too deeply");
    if (bytes > MAX_BYTES) throw refuse("its manifests are too large in total");
    const { manifests, config, layers, blobs } = parseJson(manifest.bytes, MANIFEST, name);
    if (!manifests) {
      const named = [...(config ? [config] : []), ...(layers ?? []), ...(blobs ?? [])];
      return { kind: "artifact", manifest, blobs: storedBlobs(at, named, name, call) };
    }
    const entries = parseIndex(manifest.bytes, name);
    if (new Set([...seen.keys(), ...entries.map(({ digest }) => digest)]).size > MAX_MANIFESTS)
      throw refuse("its indexes list too many manifests");
    const children = await Promise.all(
      entries.map(async (entry) => ({ entry, content: await readChild(entry.digest, depth + 1) })),
    );
    const index = { kind: "index", manifest, children } as const;
    const count = children.reduce((sum, { content }) => sum + ((content && counts.get(content)) ?? 1), 1);
    if (count > MAX_MANIFESTS) throw refuse("its indexes list too many manifests");
    counts.set(index, count);
    return index;
  }

  /** Reads a child. Undefined if the registry lacks it. */
  function readChild(digest: Digest, depth: number): Promise<Content | undefined> {
    const known = seen.get(digest);
    if (known !== undefined) return known;
    const reading = at.registry.asking.run(0, () => readManifest(at, digest, call));
    const content = reading.then((manifest) => manifest && parse(manifest, depth));
    seen.set(digest, content);
    return content;
  }

  return parse(root, 0);
}

/** Lists the distinct blobs, without foreign layers. */
function storedBlobs(at: Repository, named: readonly v.InferOutput<typeof BLOB>[], name: string, call: Call) {
  const blobs = new Map<Digest, StoredBlob>();
  for (const { urls, digest: text, ...rest } of named) {
    const digest = parseDigest(text, `a digest of ${name}`);
    const descriptor = { ...rest, digest };
    if (FOREIGN_TYPE.test(descriptor.mediaType) && urls?.length) continue;
    const read = (signal: AbortSignal) => readBlob(at, descriptor, { ...call, signal });
    blobs.set(digest, { descriptor, content: { size: descriptor.size, read } });
  }
  return [...blobs.values()];
}
