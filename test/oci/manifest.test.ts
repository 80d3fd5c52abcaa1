import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { type Descriptor, MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf, parseDigest } from "../../src/oci/digest.ts";
import {
  imageManifest,
  manifestFor,
  parseManifest,
  referencesOf,
  type SourceManifest,
} from "../../src/oci/manifest.ts";

const config = descriptor(MEDIA_TYPE.config, "c", 1234);
const gzip = descriptor(MEDIA_TYPE.layer.gzip, "a", 7_000_000_000);
const zstd = descriptor(MEDIA_TYPE.layer.zstd, "b", 0);

test("a manifest is JSON with the schema's version, the media type, and every layer in order, equal ones too", () => {
  const { bytes, mediaType } = imageManifest(config, [gzip, zstd, gzip]);
  const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes));
  expect(parsed).toEqual({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: config.digest, size: 1234 },
    layers: [
      { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: gzip.digest, size: 7_000_000_000 },
      { mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", digest: zstd.digest, size: 0 },
      { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: gzip.digest, size: 7_000_000_000 },
    ],
  });
  expect(mediaType).toBe("application/vnd.oci.image.manifest.v1+json");
});

test("the manifest of an image without layers has an empty list, which the spec demands", () => {
  const { layers } = v.parse(
    v.object({ layers: v.array(v.unknown()) }),
    JSON.parse(new TextDecoder().decode(imageManifest(config, []).bytes)),
  );
  expect(layers).toEqual([]);
});

test("the digest of a manifest is that of the bytes that are sent, also where characters take several bytes", () => {
  const odd = { ...gzip, mediaType: "application/vnd.ä€🐢" };
  const { bytes, digest } = imageManifest(config, [odd]);
  expect(digest).toBe(digestOf(bytes));
  expect(bytes.length).toBe(Buffer.byteLength(new TextDecoder().decode(bytes)));
  expect(bytes.length).toBeGreaterThan(new TextDecoder().decode(bytes).length);
});

test("the same image gives the same manifest, another order of layers another one", () => {
  expect(imageManifest(config, [gzip, zstd])).toEqual(imageManifest(config, [gzip, zstd]));
  expect(imageManifest(config, [gzip, zstd]).digest).not.toBe(imageManifest(config, [zstd, gzip]).digest);
});

describe("manifestFor", () => {
  const bytes = new TextEncoder().encode(`{ "annotations": {"as": "it came"} }`);
  const source: SourceManifest = {
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    digest: digestOf(bytes),
    bytes,
    config: { digest: config.digest, size: config.size },
    layers: [gzip, zstd].map(({ digest, size }) => ({ digest, size })),
  };

  test("keeps the image's own, byte for byte, where all that it names went up unchanged", () => {
    expect(manifestFor(source, config, [gzip, zstd])).toMatchObject({
      mediaType: source.mediaType,
      digest: source.digest,
      bytes,
    });
  });

  test("keeps that of an image without layers", () => {
    expect(manifestFor({ ...source, layers: [] }, config, []).digest).toBe(source.digest);
  });

  const changes: [
    what: string,
    source: SourceManifest | undefined,
    layers: Descriptor[],
    config: Descriptor,
  ][] = [
    ["there is none", undefined, [gzip, zstd], config],
    ["a layer was compressed", source, [gzip, { ...zstd, digest: config.digest }], config],
    ["a size is wrong", source, [gzip, { ...zstd, size: zstd.size + 1 }], config],
    ["the order is another", source, [zstd, gzip], config],
    ["a layer is missing", source, [gzip], config],
    ["a layer is there twice", source, [gzip, zstd, zstd], config],
    ["it names no layers", { ...source, layers: [] }, [gzip, zstd], config],
    ["the config is another", source, [gzip, zstd], { ...config, digest: zstd.digest }],
    ["the config's size is wrong", source, [gzip, zstd], { ...config, size: 1 }],
  ];
  test.each(changes)("writes a new one where %s", (_, from, layers, usedConfig) => {
    expect(manifestFor(from, usedConfig, layers)).toEqual(imageManifest(usedConfig, layers));
  });
});

describe("a new manifest in place of the source's", () => {
  const subject = { mediaType: MEDIA_TYPE.manifest, digest: gzip.digest, size: 7 };
  const more = { artifactType: "application/x.example", subject, annotations: { title: "ä" } };
  const parsed = (source: object) => {
    const bytes = new TextEncoder().encode(JSON.stringify(source));
    const manifest = parseManifest(bytes, "it");
    return { ...manifest, mediaType: manifest.mediaType, digest: digestOf(bytes), bytes };
  };
  const read = ({ bytes }: { bytes: Uint8Array }) => JSON.parse(new TextDecoder().decode(bytes)) as unknown;

  test("keeps annotations, subject and artifact type, and the annotations of the blobs that are the same", () => {
    const annotated = (blob: Descriptor) => ({ ...blob, annotations: { of: blob.mediaType } });
    const raw = { ...annotated(zstd), digest: config.digest };
    const mediaType = MEDIA_TYPE.manifest;
    const source = parsed({ mediaType, config: annotated(config), layers: [annotated(gzip), raw], ...more });
    expect(read(manifestFor(source, config, [gzip, zstd]))).toEqual({
      schemaVersion: 2,
      mediaType,
      config: annotated(config),
      layers: [annotated(gzip), zstd],
      ...more,
    });
  });

  test.each([
    ["claims to be what no registry takes", undefined, {}],
    ["is refused by the registry", MEDIA_TYPE.manifest, { isRefused: true }],
  ])("keeps them, too, where the source's own %s", (_, mediaType, options) => {
    const source = { ...parsed({ config, layers: [gzip], ...more }), mediaType };
    const manifest = manifestFor(source, config, [gzip], options);
    expect(manifest.digest).not.toBe(source.digest);
    expect(read(manifest)).toMatchObject({ mediaType: MEDIA_TYPE.manifest, ...more });
  });

  test("leaves out what is invalid there, and is written all the same", () => {
    for (const invalid of [
      { annotations: { a: 1 }, subject: { digest: "x" }, artifactType: [] },
      { annotations: "a", subject: "x", artifactType: null },
      { annotations: null, subject: { ...subject, digest: "sha256:a b\u001b[31m" }, artifactType: {} },
    ]) {
      const source = parsed({ config, layers: [{ ...gzip, annotations: 7 }], ...invalid });
      expect(manifestFor(source, config, [gzip])).toEqual(imageManifest(config, [gzip]));
    }
  });
});

describe("what a manifest of any kind names", () => {
  const read = (manifest: object) => referencesOf(new TextEncoder().encode(JSON.stringify(manifest)), "it");
  const none = { blobs: [], manifests: [], subject: undefined, configType: undefined };

  test("is an image's config and layers, an index's manifests, an artifact's blobs, and the subject of each", () => {
    expect(read({ config, layers: [gzip, zstd], subject: gzip })).toMatchObject({
      blobs: [config.digest, gzip.digest, zstd.digest],
      manifests: [],
      configType: config.mediaType,
      subject: gzip.digest,
    });
    const named = { digest: "sha512:abc", size: 1 };
    expect(read({ manifests: [gzip, named], annotations: { a: "b" }, artifactType: "x" })).toMatchObject({
      ...none,
      manifests: [gzip.digest, "sha512:abc"],
      annotations: { a: "b" },
      artifactType: "x",
    });
    expect(read({ blobs: [gzip] })).toMatchObject({ ...none, blobs: [gzip.digest] });
  });

  test("is nothing where it says nothing, or null", () => {
    for (const manifest of [{}, { config: null, layers: null, manifests: null, blobs: null, subject: null }])
      expect(read(manifest)).toMatchObject(none);
  });

  test.each([
    ["IMAGE_INVALID", []],
    ["IMAGE_INVALID", { layers: [{}] }],
    ["IMAGE_INVALID", { config: "x" }],
    ["IMAGE_INVALID", { layers: [{ digest: "sha256:x" }] }],
    ["IMAGE_INVALID", { subject: { digest: "../x" } }],
  ])("fails with %s for %j", (code, manifest) => {
    expect(() => read(manifest)).toThrow(expect.objectContaining({ code }));
  });
});

function descriptor(mediaType: string, digit: string, size: number): Descriptor {
  return { mediaType, digest: parseDigest(`sha256:${digit.repeat(64)}`, ""), size };
}
