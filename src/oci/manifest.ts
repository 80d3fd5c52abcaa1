import * as v from "valibot";
import { type Descriptor, FOREIGN_TYPE, MEDIA_TYPE } from "./descriptor.ts";
import { type Digest, digestOf, parseDigest } from "./digest.ts";
import { object, parseJson, record } from "./json-schema.ts";

/** A manifest, byte for byte as it is published. */
export type Manifest = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array<ArrayBuffer>;
};

/** A source's own manifest, with the blobs that it references. */
export type SourceManifest = Omit<Manifest, "mediaType"> &
  Extras & {
    /** Undefined if the manifest names a type that no registry accepts. */
    readonly mediaType: string | undefined;
    readonly config: Content;
    readonly layers: readonly Content[];
  };

type Content = Pick<Descriptor, "digest" | "size"> & Pick<Extras, "annotations">;

/** The parts of a manifest that are not about its blobs. */
type Extras = {
  readonly artifactType?: string | undefined;
  readonly subject?:
    | { readonly mediaType: string; readonly digest: string; readonly size: number }
    | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
};

/**
 * Chooses the manifest to publish. Returns the source's manifest, byte for byte, if all its blobs are unchanged, so that
 * its digest and signatures stay valid. Otherwise creates an OCI manifest with its annotations, subject and artifact
 * type. Keeps a blob's annotations only if the blob is unchanged: they may describe its bytes.
 *
 * @param options `isRefused`: the registry refuses the source's manifest
 */
export function manifestFor(
  source: SourceManifest | undefined,
  config: Descriptor,
  layers: readonly Descriptor[],
  { isRefused = false }: { readonly isRefused?: boolean } = {},
): Manifest {
  if (source === undefined) return imageManifest(config, layers);
  const { mediaType, digest, bytes } = source;
  const isUnchanged =
    source.layers.length === layers.length &&
    isSameContent(source.config, config) &&
    layers.every((layer, i) => isSameContent(source.layers[i], layer));
  if (isUnchanged && !isRefused && mediaType !== undefined) return { mediaType, digest, bytes };
  const annotated = (blob: Descriptor, original: Content | undefined) =>
    isSameContent(original, blob) ? { ...blob, annotations: original?.annotations } : blob;
  return imageManifest(
    annotated(config, source.config),
    layers.map((layer, i) => annotated(layer, source.layers[i])),
    source,
  );
}

function isSameContent(a: Content | undefined, b: Content): boolean {
  return a?.digest === b.digest && a.size === b.size;
}

/**
 * Creates an image manifest. Layers are ordered base first.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
 */
export function imageManifest(
  config: Descriptor,
  layers: readonly Descriptor[],
  { artifactType, subject, annotations }: Extras = {},
): Manifest {
  const bytes = new TextEncoder().encode(
    // The spec only recommends mediaType, but serverless-registry rejects a manifest without it.
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.manifest,
      artifactType,
      config,
      layers,
      subject,
      annotations,
    }),
  );
  return { mediaType: MEDIA_TYPE.manifest, digest: digestOf(bytes), bytes };
}

/** A manifest's descriptor of a config or layer. Its size is -1 if the manifest has none, which equals no real size. */
export type ManifestEntry = Content & { readonly mediaType: string | undefined };

// An invalid value of such a field does not fail the push; a new manifest leaves it out.
const ANNOTATIONS = v.fallback(v.optional(record(v.string(), v.string())), undefined);
const ENTRY = object({
  mediaType: v.optional(v.string()),
  digest: v.string(),
  size: v.optional(v.pipe(v.number(), v.finite("it is too large"))),
  annotations: ANNOTATIONS,
});
const SUBJECT = object({
  mediaType: v.string(),
  digest: v.pipe(v.string(), v.regex(/^[a-z0-9+._-]{1,32}:[a-zA-Z0-9=_-]{1,128}$/)),
  size: v.pipe(v.number(), v.safeInteger()),
});
const MANIFEST = object({
  mediaType: v.optional(v.string()),
  config: ENTRY,
  layers: v.nullish(v.array(ENTRY)),
  artifactType: v.fallback(v.optional(v.string()), undefined),
  subject: v.fallback(v.optional(SUBJECT), undefined),
  annotations: ANNOTATIONS,
});

/** Parses an OCI or Docker image manifest. Throws `IMAGE_INVALID`. */
export function parseManifest(bytes: Uint8Array, name: string) {
  const { config, layers, ...rest } = parseJson(bytes, MANIFEST, name);
  const entry = (
    { mediaType, digest, size = -1, annotations }: v.InferOutput<typeof ENTRY>,
    field: string,
  ) => ({
    mediaType,
    annotations,
    digest: parseDigest(digest, `${field} of ${name}`),
    size,
  });
  return {
    ...rest,
    config: entry(config, "config.digest"),
    layers: (layers ?? []).map((layer, i): ManifestEntry => entry(layer, `layers.${i}.digest`)),
  };
}

const NAMED = object({
  digest: v.string(),
  mediaType: v.fallback(v.optional(v.string()), undefined),
});
const REFERENCES = object({
  mediaType: v.fallback(v.optional(v.string()), undefined),
  artifactType: v.fallback(v.optional(v.string()), undefined),
  annotations: ANNOTATIONS,
  config: v.nullish(NAMED),
  layers: v.nullish(v.array(NAMED)),
  manifests: v.fallback(v.nullish(v.array(NAMED)), undefined),
  // OCI's artifact manifest has them. It is no longer in the specification.
  blobs: v.nullish(v.array(NAMED)),
  subject: v.fallback(v.nullish(NAMED), undefined),
});

/** The parts that manifests of every kind have: types, annotations, and the digests of other content. */
export type References = Pick<Extras, "artifactType" | "annotations"> & {
  readonly mediaType?: string | undefined;
  readonly configType: string | undefined;
  /** The config and the layers. An index has none. */
  readonly blobs: readonly Digest[];
  /** The foreign layers among them, which are not uploaded. */
  readonly foreign: readonly Digest[];
  /** The digests of an index's manifests, unchecked. */
  readonly manifests: readonly string[];
  readonly subject: Digest | undefined;
};

/** Reads what an image manifest, an index or the manifest of an artifact names. Throws `IMAGE_INVALID`. */
export function referencesOf(bytes: Uint8Array, name: string): References {
  const { config, layers, manifests, blobs, subject, ...rest } = parseJson(bytes, REFERENCES, name);
  const all = [...(config ? [config] : []), ...(layers ?? []), ...(blobs ?? [])];
  const parsed = all.map(({ digest, mediaType = "" }) => ({
    digest: parseDigest(digest, `a digest of ${name}`),
    isForeign: FOREIGN_TYPE.test(mediaType),
  }));
  return {
    ...rest,
    configType: config?.mediaType,
    blobs: parsed.map(({ digest }) => digest),
    foreign: parsed.flatMap(({ digest, isForeign }) => (isForeign ? [digest] : [])),
    manifests: (manifests ?? []).map(({ digest }) => digest),
    subject: subject ? parseDigest(subject.digest, `subject.digest of ${name}`) : undefined,
  };
}
