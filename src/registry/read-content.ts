import * as v from "valibot";
import { PushError } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { type IndexEntry, parseIndex } from "../oci/image-index.ts";
import { object, parseJson } from "../oci/json-schema.ts";
import type { Manifest } from "../oci/manifest.ts";
import { readManifest } from "./read-manifest.ts";
import type { Call, Repository } from "./registry.ts";

/** A manifest at a registry, with everything below it. */
export type RegistryContent = {
  readonly manifest: Manifest;
  /** The distinct blobs that it names. Those that others give out (`urls`) are left out: no registry has them. */
  readonly blobs: readonly Descriptor[];
  /** Undefined unless it is an index. */
  readonly children: readonly RegistryChild[] | undefined;
};

export type RegistryChild = { readonly entry: IndexEntry; readonly content: RegistryContent };

/** Real indexes list images, or once more indexes. The limits are those against malicious ones. */
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
 * Reads what is below a manifest that was read, down to the descriptors of its blobs. Throws `IMAGE_INVALID` for an index
 * that lists what is not there, and what `readManifest` throws.
 */
export async function readContent(at: Repository, root: Manifest, call: Call): Promise<RegistryContent> {
  const seen = new Map<Digest, Promise<RegistryContent>>();
  let bytes = 0;

  async function parse(manifest: Manifest, depth: number): Promise<RegistryContent> {
    const name = `${at.name}@${manifest.digest} at ${at.registry.origin}`;
    const refuse = (what: string) => new PushError("IMAGE_INVALID", `Cannot read ${name}: ${what}.`);
    bytes += manifest.bytes.length;
    if (depth > MAX_DEPTH) throw refuse("its indexes go too deep");
    if (bytes > MAX_BYTES) throw refuse("its manifests are too large together");
    const { manifests, config, layers, blobs } = parseJson(manifest.bytes, MANIFEST, name);
    const named = [...(config ? [config] : []), ...(layers ?? []), ...(blobs ?? [])];
    const own = named.filter(({ urls }) => !urls?.length);
    const distinct = new Map(own.map((blob) => [blob.digest, blob]));
    const children = manifests ? parseIndex(manifest.bytes, name) : undefined;
    return {
      manifest,
      blobs: [...distinct.values()].map(({ mediaType, digest, size }) => ({
        mediaType,
        digest: parseDigest(digest, `a digest of ${name}`),
        size,
      })),
      children: children && (await Promise.all(children.map((entry) => readChild(entry, depth + 1, refuse)))),
    };
  }

  async function readChild(entry: IndexEntry, depth: number, refuse: (what: string) => PushError) {
    const { digest } = entry;
    if (!seen.has(digest) && seen.size >= MAX_MANIFESTS) throw refuse("its indexes list too much");
    const content =
      seen.get(digest) ??
      at.registry.asking
        .run(0, () => readManifest(at, digest, call))
        .then((manifest) => {
          if (manifest !== undefined) return parse(manifest, depth);
          throw refuse(`it lists ${digest}, which the registry does not have`);
        });
    seen.set(digest, content);
    return { entry, content: await content };
  }

  return parse(root, 0);
}

/** Lists a tree's manifests with their own blobs, children first, each once. */
export function partsOf(root: RegistryContent, seen = new Set<Digest>()): RegistryContent[] {
  const { manifest, children = [] } = root;
  if (seen.has(manifest.digest)) return [];
  seen.add(manifest.digest);
  return [...children.flatMap(({ content }) => partsOf(content, seen)), root];
}

/** Lists a tree's blobs, each once. */
export function blobsOf(root: RegistryContent): Descriptor[] {
  const all = partsOf(root).flatMap(({ blobs }) => blobs);
  return [...new Map(all.map((blob) => [blob.digest, blob])).values()];
}
