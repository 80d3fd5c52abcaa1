import * as v from "valibot";
import { PushError } from "../../errors.ts";
import type { Artifact, Content, Index } from "../../oci/content.ts";
import {
  CONFIG_TYPES,
  type Descriptor,
  FOREIGN_TYPE,
  INDEX_TYPES,
  MANIFEST_TYPES,
  MEDIA_TYPE,
} from "../../oci/descriptor.ts";
import { blobPath, type Digest } from "../../oci/digest.ts";
import { type Image, parseImageConfig } from "../../oci/image.ts";
import { parseIndex } from "../../oci/image-index.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import { type ManifestEntry, parseManifest } from "../../oci/manifest.ts";
import { type ImageFiles, readBlob } from "./image-files.ts";
import { openImage } from "./image-parts.ts";

/** Indexes may list indexes; real ones nest once. The limits protect against malicious sources. */
const MAX_DEPTH = 4;
const MAX_DOCUMENTS = 1000;
/** All manifests of a source are kept in memory. */
const MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024;

/** Matches the types of layers that are plain tar archives. Images with encrypted or foreign layers pass through. */
const LAYER_TYPE = /^(?!.*(?:encrypted|foreign|nondistributable)).*\btar\b/;

const KIND = object({
  mediaType: v.fallback(v.optional(v.string()), undefined),
  manifests: v.optional(v.unknown()),
  config: v.optional(v.unknown()),
});

const CONFIG_KIND = object({ rootfs: v.optional(v.unknown()) });

/** Content that a source lacks. */
export type Missing = { readonly kind: "missing"; readonly path: string };

/** Reads manifests with their content, each once. */
export type ContentReader = {
  /**
   * Reads a manifest and everything below it. Returns the path of a missing part; only the entries of an index may be
   * missing. Throws `IMAGE_INVALID`, `CONTENT_MISMATCH`, `ARCHIVE_INVALID` and `FILE_FAILED`.
   *
   * @param mediaType the type of a manifest that does not state its own
   */
  read(digest: Digest, mediaType?: string): Promise<Content | Missing>;
};

/** Creates a reader for a source whose blobs have the paths of an OCI layout. */
export function contentReader(files: ImageFiles): ContentReader {
  const { title } = files;
  const seen = new Map<Digest, Promise<Content | Missing>>();
  /** The number of entries in an index and below it. An index may list the same one many times. */
  const listedBy = new Map<Digest, number>();
  let documentsBytes = 0;

  function read(digest: Digest, mediaType: string | undefined, depth: number): Promise<Content | Missing> {
    if (depth > MAX_DEPTH)
      throw new PushError("IMAGE_INVALID", `Cannot read the ${title}: its indexes are nested too deeply.`);
    const known = seen.get(digest);
    if (known !== undefined) return known;
    if (seen.size === MAX_DOCUMENTS) throw tooMuch(title);
    const content = readNew(digest, mediaType, depth);
    seen.set(digest, content);
    return content;
  }

  async function readNew(digest: Digest, listedType: string | undefined, depth: number) {
    const path = blobPath(digest);
    const document = await files.open(path);
    if (document === undefined) return missing(path);
    documentsBytes += document.size;
    if (documentsBytes > MAX_DOCUMENTS_BYTES) throw tooMuch(title);
    const bytes = await readBlob(files, digest);
    const name = `"${path}" in the ${title}`;
    const kind = parseJson(bytes, KIND, name);
    const isIndex = kind.manifests !== undefined;
    const types = isIndex ? INDEX_TYPES : MANIFEST_TYPES;
    const isKnown = (type: string | undefined) => type !== undefined && types.includes(type);
    // The type becomes a header. A manifest without one is OCI's.
    const mediaType = [kind.mediaType, listedType].find(isKnown) ?? types[0] ?? "";
    const manifest = { digest, bytes, mediaType };
    if (isIndex) return readIndex(manifest, name, depth);
    const isTyped = kind.mediaType === undefined || isKnown(kind.mediaType);
    return (await readImage(files, manifest, isTyped, name)) ?? readArtifact(files, manifest, name);
  }

  async function readIndex(manifest: Index["manifest"], name: string, depth: number): Promise<Index> {
    const children: Index["children"][number][] = [];
    let listed = 0;
    // One after the other: a hostile index must not open all its files at once.
    for (const entry of parseIndex(manifest.bytes, name)) {
      const content = await read(entry.digest, entry.mediaType, depth + 1);
      // An index need not name platforms. The config of an image does.
      const platform = entry.platform ?? (content.kind === "image" ? content.platform : undefined);
      const isMissing = content.kind === "missing";
      children.push({ entry: { ...entry, platform }, content: isMissing ? undefined : content });
      listed += 1 + (listedBy.get(entry.digest) ?? 0);
      if (listed > MAX_DOCUMENTS) throw tooMuch(title);
    }
    listedBy.set(manifest.digest, listed);
    return { kind: "index", manifest, children };
  }

  return { read: async (digest, mediaType) => read(digest, mediaType, 0) };
}

/** Reads an image whose layers are tar archives. Undefined for any other artifact. */
async function readImage(
  files: ImageFiles,
  manifest: Artifact["manifest"],
  isTyped: boolean,
  name: string,
): Promise<Image | Missing | undefined> {
  const contents = parseManifest(manifest.bytes, name);
  const { config: entry, layers } = contents;
  const isLayer = ({ mediaType }: ManifestEntry) => mediaType === undefined || LAYER_TYPE.test(mediaType);
  if (!CONFIG_TYPES.includes(entry.mediaType ?? MEDIA_TYPE.config) || !layers.every(isLayer))
    return undefined;
  const configPath = blobPath(entry.digest);
  if ((await files.open(configPath)) === undefined) return missing(configPath);
  const configBytes = await readBlob(files, entry.digest);
  const configName = `"${configPath}" in the ${files.title}`;
  // Some artifacts have an empty config of the images' type.
  if (parseJson(configBytes, CONFIG_KIND, configName).rootfs === undefined) return undefined;
  const config = parseImageConfig(configBytes, configName);
  // Docker 25.0 writes manifests without layers (https://github.com/moby/moby/issues/47065). Its blobs are raw, so their
  // digests are the config's diffIDs.
  const paths = (layers.length === 0 ? config.diffIds : layers.map(({ digest }) => digest)).map(blobPath);
  for (const path of paths) if (!(await isThere(files, path))) return missing(path);
  const { mediaType } = manifest;
  return {
    ...(await openImage(files, config, paths, name)),
    manifest: { ...contents, ...manifest, mediaType: isTyped ? mediaType : undefined },
  };
}

async function readArtifact(
  files: ImageFiles,
  manifest: Artifact["manifest"],
  name: string,
): Promise<Artifact | Missing> {
  const { config, layers } = parseManifest(manifest.bytes, name);
  const blobs = new Map<Digest, { descriptor: Descriptor; content: Blob }>();
  for (const { digest, mediaType = "application/octet-stream" } of [config, ...layers]) {
    if (FOREIGN_TYPE.test(mediaType)) continue;
    const content = await files.open(blobPath(digest));
    if (content === undefined) return missing(blobPath(digest));
    blobs.set(digest, { descriptor: { mediaType, digest, size: content.size }, content });
  }
  return { kind: "artifact", manifest, blobs: [...blobs.values()] };
}

async function isThere(files: ImageFiles, path: string): Promise<boolean> {
  return (await (files.openLayer ?? files.open)(path)) !== undefined;
}

function missing(path: string): Missing {
  return { kind: "missing", path };
}

function tooMuch(title: string): PushError {
  return new PushError("IMAGE_INVALID", `Cannot read the ${title}: its indexes list too many images.`);
}

/** Creates the error for content with a missing part. */
export function lacks(title: string, { path }: Missing): PushError {
  return new PushError("IMAGE_INCOMPLETE", `Cannot read the ${title}: "${path}" is missing.`, {
    hint: "An engine may lack layers that it got from another image: pull the image again, or push it from its registry (docker://…).",
  });
}
