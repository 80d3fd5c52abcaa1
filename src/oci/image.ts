import * as v from "valibot";
import { PushError } from "../errors.ts";
import type { Compression, RegistryBlob } from "./descriptor.ts";
import { MEDIA_TYPE } from "./descriptor.ts";
import type { DiffId, Digest } from "./digest.ts";
import { digestOf, parseDiffId } from "./digest.ts";
import { platformName } from "./image-index.ts";
import { parseJson } from "./json.ts";
import { object } from "./json-schema.ts";
import type { SourceManifest } from "./manifest.ts";

/** A layer as it lies in its source. */
export type Layer = {
  readonly diffId: DiffId;
  readonly compression: Compression;
  /** What the source says that the bytes hash to: a claim to be checked. Absent where it says nothing. */
  readonly claimedDigest: Digest | undefined;
  readonly content: Blob;
  /** The member or file, for messages. */
  readonly name: string;
};

/** An image as it lies in its source, its layers in the order of the config, base first. */
export type Image = {
  readonly config: RegistryBlob;
  readonly layers: readonly Layer[];
  /** Where the source has one that a registry would take. */
  readonly manifest: SourceManifest | undefined;
  /** The names that the source knows it by, such as `my/app:v1`. May be empty. */
  readonly names: readonly string[];
  /** `linux/amd64`, or undefined where the config does not say. */
  readonly platform: string | undefined;
};

/** Where an image comes from, and enough about it to see a mistake, such as an archive of last week. */
export type ImageOrigin = {
  readonly kind: "archive" | "folder" | "engine";
  /** The path, or the image's name in the engine. */
  readonly name: string;
  /** When the archive or folder was written, or the image built. */
  readonly date: Date | undefined;
  /** Of an archive's file. */
  readonly sizeBytes: number | undefined;
};

// https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
const CONFIG = object({
  architecture: v.optional(v.string()),
  os: v.optional(v.string()),
  variant: v.optional(v.string()),
  rootfs: object({ diff_ids: v.nullish(v.array(v.string())) }),
});

/** What a push needs to know from an image's config, whose bytes go up as they are. */
export type ImageConfig = {
  readonly blob: RegistryBlob;
  readonly diffIds: readonly DiffId[];
  readonly platform: string | undefined;
};

/** Reads an image config. Throws `IMAGE_INVALID`, naming the file and the field. */
export function parseImageConfig(bytes: Uint8Array<ArrayBuffer>, name: string): ImageConfig {
  const config = parseJson(bytes, CONFIG, name);
  return {
    blob: {
      descriptor: { mediaType: MEDIA_TYPE.config, digest: digestOf(bytes), size: bytes.length },
      content: new Blob([bytes]),
    },
    diffIds: (config.rootfs.diff_ids ?? []).map((id) => parseDiffId(id, `rootfs.diff_ids of ${name}`)),
    platform: platformName(config),
  };
}

const MAGIC: readonly [Compression, readonly number[]][] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
];

/** Tells how bytes are compressed by how they begin; names and media types are often wrong. */
export function compressionOf(head: Uint8Array): Compression {
  return MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? "none";
}

/** The same, of bytes that have to be read first. */
export async function detectCompression(content: Blob): Promise<Compression> {
  return compressionOf(new Uint8Array(await content.slice(0, 4).arrayBuffer()));
}

/** Refuses an image whose config and layer list disagree. Throws `IMAGE_INVALID`. */
export function assertLayerCount(diffIds: readonly DiffId[], layers: readonly unknown[], name: string): void {
  if (diffIds.length === layers.length) return;
  throw new PushError(
    "IMAGE_INVALID",
    `Cannot read ${name}: it lists ${layers.length} layers, but the image's config has ${diffIds.length}.`,
  );
}
