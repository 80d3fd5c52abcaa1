import * as v from "valibot";
import { PushError } from "../errors.ts";
import { type Compression, MEDIA_TYPE, type RegistryBlob } from "./descriptor.ts";
import { type DiffId, type Digest, digestOf, parseDiffId } from "./digest.ts";
import { object, parseJson } from "./json-schema.ts";
import type { SourceManifest } from "./manifest.ts";
import { platformName } from "./platform.ts";

/** Content that can be read any number of times, but only from its start. */
export type StreamedBytes = {
  /** In bytes. Undefined if only reading tells. */
  readonly size: number | undefined;
  /** Reads the content. Throws the source's errors, and the signal's reason. */
  read(signal: AbortSignal): AsyncIterable<Uint8Array<ArrayBuffer>>;
};

/** Content of a source. A `Blob` can be read from any offset. */
export type StoredBytes = Blob | StreamedBytes;

/** A layer in a source, as stored there. */
export type Layer = {
  readonly diffId: DiffId;
  /** The digest of the stored bytes according to the source, unverified. Undefined if the source names none. */
  readonly claimedDigest: Digest | undefined;
  /** The path in the source, for messages. */
  readonly name: string;
} & (
  | { readonly compression: "none"; readonly content: StoredBytes }
  | { readonly compression: Exclude<Compression, "none">; readonly content: Blob }
);

/** An image in a source. Its layers are in the config's order, base first. */
export type Image = {
  readonly kind: "image";
  readonly config: RegistryBlob;
  readonly layers: readonly Layer[];
  /** Set if the source has an OCI or Docker manifest. */
  readonly manifest: SourceManifest | undefined;
  /** Such as `linux/amd64`. Undefined if the config has none. */
  readonly platform: string | undefined;
};

/** Describes a source, so that the user can spot a mistake such as an outdated archive. */
export type ImageOrigin = {
  readonly kind: "archive" | "folder" | "stream" | "engine" | "registry";
  /** The path, the image's name in the engine or registry, or what the stream is called. */
  readonly name: string;
  /** The engine's name within a sentence, such as `the Docker engine`. Set for engines. */
  readonly engine?: string;
  /** When the archive or folder was written, or the image was built. */
  readonly date: Date | undefined;
  /** The size of an archive's file. */
  readonly sizeBytes: number | undefined;
};

/** The limit is far above what engines run: Linux mounts at most 500 layers. */
const MAX_LAYERS = 10_000;

/** Schema of an image's diffIDs. Go serializes an empty list as null. */
export const DIFF_IDS = v.nullish(
  v.pipe(v.array(v.string()), v.maxLength(MAX_LAYERS, `it lists more than ${MAX_LAYERS} layers`)),
  [],
);

// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
const CONFIG = object({
  architecture: v.optional(v.string()),
  os: v.optional(v.string()),
  variant: v.optional(v.string()),
  rootfs: object({ diff_ids: DIFF_IDS }),
});

/** An image config, whose bytes are uploaded unchanged, and the parsed fields that a push needs. */
export type ImageConfig = {
  readonly blob: RegistryBlob;
  readonly diffIds: readonly DiffId[];
  readonly platform: string | undefined;
};

/** Parses an image config. Throws `IMAGE_INVALID`, naming the file and the field. */
export function parseImageConfig(bytes: Uint8Array<ArrayBuffer>, name: string): ImageConfig {
  const config = parseJson(bytes, CONFIG, name);
  return {
    blob: {
      descriptor: { mediaType: MEDIA_TYPE.config, digest: digestOf(bytes), size: bytes.length },
      content: new Blob([bytes]),
    },
    diffIds: config.rootfs.diff_ids.map((id) => parseDiffId(id, `rootfs.diff_ids of ${name}`)),
    platform: platformName(config),
  };
}

const MAGIC: readonly [Compression, readonly number[]][] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
];

/** Detects compression by magic numbers, since names and media types are often wrong. */
export function compressionOf(head: Uint8Array): Compression {
  return MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? "none";
}

/** Detects the compression of content by its first bytes. Throws the system's errors. */
export async function detectCompression(content: Blob): Promise<Compression> {
  return compressionOf(new Uint8Array(await content.slice(0, 4).arrayBuffer()));
}

/** Throws `IMAGE_INVALID` if the config and the layer list differ in length. */
export function assertLayerCount(diffIds: readonly DiffId[], layers: readonly unknown[], name: string): void {
  if (diffIds.length === layers.length) return;
  throw new PushError(
    "IMAGE_INVALID",
    `Cannot read ${name}: it lists ${layers.length} layers, but the config lists ${diffIds.length}.`,
  );
}
