/** What is read of a manifest: an image whose layers may be worked on, or an artifact that only passes through. */
import { describe, expect, test } from "bun:test";
import { imagesOf, manifestDigestsOf, sizeOf } from "../../src/oci/content.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { type Digest, parseDigest } from "../../src/oci/digest.ts";
import { contentReader } from "../../src/source/files/content.ts";
import {
  attestationOf,
  blobOf,
  descriptorOf,
  EMPTY_TYPE,
  type FixtureBlob,
  filesOf,
  fixtureImage,
  IN_TOTO_TYPE,
  indexOf,
  manifestOf,
  multiPlatform,
  platformImage,
} from "../support/image-fixture.ts";
import type { FixtureFiles } from "../support/image-forms.ts";
import { inMemory, readTree } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";
import { bytesOf } from "../support/stored-bytes.ts";

const image = fixtureImage(1, 2);
const layers = image.layers.map((layer) => Bun.gzipSync(layer));

const read = (files: FixtureFiles, { digest }: FixtureBlob) =>
  contentReader(inMemory(files)).read(parseDigest(digest, "a test"));

describe("an artifact", () => {
  const cases: [what: string, config: string, configType: string, layerType: string][] = [
    [
      "a Helm chart",
      "{}",
      "application/vnd.cncf.helm.config.v1+json",
      "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    ],
    [
      "a signature or SBOM with an empty config",
      "{}",
      EMPTY_TYPE,
      "application/vnd.dev.sigstore.bundle.v0.3+json",
    ],
    ["what has an empty config of the images' type", "{}", MEDIA_TYPE.config, MEDIA_TYPE.layer.gzip],
    ["a WASM module", "{}", "application/vnd.wasm.config.v0+json", "application/wasm"],
    ["a config that is no JSON", "no JSON", "application/octet-stream", MEDIA_TYPE.layer.gzip],
    ["BuildKit's attestation", image.config, MEDIA_TYPE.config, IN_TOTO_TYPE],
    [
      "cosign's signature",
      image.config,
      MEDIA_TYPE.config,
      "application/vnd.dev.cosign.simplesigning.v1+json",
    ],
    ["an encrypted image", image.config, MEDIA_TYPE.config, `${MEDIA_TYPE.layer.gzip}+encrypted`],
    ["a model", image.config, MEDIA_TYPE.config, "application/vnd.docker.ai.gguf.v3"],
    ["types with line breaks", "{}", "a\r\nx-evil: 1", "b\r\nx-evil: 1"],
  ];
  test.each(cases)("goes up byte for byte: %s", async (_, config, configType, layerType) => {
    const { root, files, layers: blobs } = manifestOf(config, layers, { configType, layerType });
    const content = await read(files, root);
    if (content.kind !== "artifact") throw new Error(`It is read as ${content.kind}.`);
    expect(content.manifest as unknown).toEqual({
      mediaType: MEDIA_TYPE.manifest,
      digest: root.digest,
      bytes: root.bytes,
    });
    const expected = [Buffer.from(config), ...blobs.map(({ bytes }) => bytes)].map((bytes) => bytes.length);
    expect(content.blobs.map(({ descriptor }) => descriptor.size)).toEqual(expected);
    expect(content.blobs[1]?.descriptor as unknown).toEqual(descriptorOf(blobs[0] as FixtureBlob, layerType));
    for (const { descriptor, content: blob } of content.blobs)
      expect((await bytesOf(blob)).length).toBe(descriptor.size);
  });

  test("has each of its equal blobs once", async () => {
    const { root, files } = manifestOf("{}", [Buffer.from("{}"), Buffer.from("{}")], {
      configType: EMPTY_TYPE,
    });
    expect(await read(files, root)).toMatchObject({
      kind: "artifact",
      blobs: [{ content: expect.any(Blob) }],
    });
  });

  test("is missing if one of its blobs is, and says which one", async () => {
    const { root, files, layers: blobs } = manifestOf("{}", layers, { configType: EMPTY_TYPE });
    const { [blobs[1]?.path ?? ""]: _, ...rest } = files;
    expect(await read(rest, root)).toEqual({ kind: "missing", path: blobs[1]?.path ?? "" });
  });

  test.each([
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ])("has layers that registries are not given, which are not opened: %s", async (layerType) => {
    const { root, files, layers: blobs } = manifestOf(image.config, layers, { layerType });
    const paths = blobs.map(({ path }) => path);
    const opened: string[] = [];
    const { open, title } = inMemory(files);
    const noted = (path: string) => {
      opened.push(path);
      return open(path);
    };
    const content = await contentReader({ title, open: noted }).read(parseDigest(root.digest, "a test"));
    expect(content).toMatchObject({
      kind: "artifact",
      blobs: [{ descriptor: { mediaType: MEDIA_TYPE.config } }],
    });
    expect(opened.filter((path) => paths.includes(path))).toEqual([]);
  });
});

describe("an image keeps its own manifest, whatever else that says,", () => {
  const cases: [what: string, more: object][] = [
    ["an empty annotation, as Podman's", { annotations: { "org.opencontainers.image.base.name": "" } }],
    ["annotations of a wrong type", { annotations: { a: 1 } }],
    ["annotations that are none", { annotations: "a" }],
    ["a subject that is none", { subject: { digest: "../x" } }],
    ["an artifact type that is none", { artifactType: [] }],
    ["unknown fields", { x: { y: [1] }, __proto__: null }],
  ];
  test.each(cases)("such as %s", async (_, more) => {
    const { root, files } = platformImage("amd64", [1, 2], more);
    expect(await read(files, root)).toMatchObject({
      kind: "image",
      platform: "linux/amd64",
      manifest: { digest: root.digest, bytes: root.bytes, mediaType: MEDIA_TYPE.manifest },
    });
  });

  test.each([
    MEDIA_TYPE.layer.none,
    MEDIA_TYPE.layer.zstd,
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
  ])("such as layers of the type %s", async (layerType) => {
    const { root, files } = manifestOf(image.config, layers, { layerType });
    expect((await read(files, root)).kind).toBe("image");
  });
});

describe("a tree", () => {
  test("has images, manifests and a size; equal layers of two platforms count once", async () => {
    const { root, files, amd64, arm64, aboutAmd64, aboutArm64 } = multiPlatform();
    const content = await readTree(files, root);
    expect(imagesOf(content).map(({ platform }) => platform)).toEqual(["linux/amd64", "linux/arm64"]);
    const manifests = [root, amd64.root, arm64.root, aboutAmd64.root, aboutArm64.root];
    expect(manifestDigestsOf(content).map(String)).toEqual(manifests.map(({ digest }) => digest));
    const distinct = new Map(
      [...amd64.layers, ...arm64.layers].map(({ digest, bytes }) => [digest, bytes.length]),
    );
    expect(sizeOf(content)).toEqual({
      layers: 3,
      bytes: [...distinct.values()].reduce((sum, size) => sum + size, 0),
    });
  });

  test("may have an index in an index, and the same image in both", async () => {
    const { root, files, amd64 } = multiPlatform();
    const outer = indexOf([descriptorOf(root, MEDIA_TYPE.index), amd64.entry]);
    const content = await readTree({ ...files, ...filesOf([outer]) }, outer);
    expect(imagesOf(content)).toHaveLength(3);
    expect(sizeOf(content).layers).toBe(3);
  });

  test("lacks an attestation that is not there", async () => {
    const amd64 = platformImage("amd64", [1]);
    const about = attestationOf(amd64.root);
    const root = indexOf([amd64.entry, about.entry]);
    const content = await readTree({ ...amd64.files, ...filesOf([root]) }, root);
    expect(content).toMatchObject({
      children: [{ content: { kind: "image" } }, { entry: { isAttestation: true }, content: undefined }],
    });
  });

  test("is refused where trees of one source list too much together", async () => {
    const roots = ["a", "b"].map((each) =>
      indexOf(Array.from({ length: 600 }, (_, i) => ({ digest: blobOf(`${each} ${i}`).digest }))),
    );
    const reader = contentReader(inMemory(filesOf(roots)));
    const [first, second] = roots.map(({ digest }) => parseDigest(digest, "a test"));
    expect((await reader.read(first as Digest)).kind).toBe("index");
    const error = await rejection(reader.read(second as Digest));
    expect([error.code, error.message]).toEqual([
      "IMAGE_INVALID",
      expect.stringContaining("too many images"),
    ]);
  });

  test("has no more bytes in its documents than memory should hold", async () => {
    const large = Array.from({ length: 17 }, (_, i) => blobOf(`{"manifests":[],"i":${i}}`.padEnd(4_000_000)));
    const listing = (count: number) => {
      const some = large.slice(0, count);
      const root = indexOf(some.map((each) => descriptorOf(each, MEDIA_TYPE.index)));
      return read(filesOf([root, ...some]), root);
    };
    expect((await listing(16)).kind).toBe("index");
    const error = await rejection(listing(17));
    expect([error.code, error.message]).toEqual([
      "IMAGE_INVALID",
      expect.stringContaining("too many images"),
    ]);
  });

  test.each([
    ["annotations", { annotations: { a: 1 } }],
    ["annotations", { annotations: [] }],
    ["platform", { platform: [] }],
    ["platform.os", { platform: { os: 1 } }],
    ["mediaType", { mediaType: null }],
  ])("is refused where an entry has a wrong type for %s", async (field, wrong) => {
    const amd64 = platformImage("amd64", [1]);
    const root = indexOf([{ ...amd64.entry, ...wrong }]);
    const error = await rejection(read({ ...amd64.files, ...filesOf([root]) }, root));
    expect([error.code, error.message]).toEqual([
      "IMAGE_INVALID",
      expect.stringContaining(`manifests.0.${field}`),
    ]);
  });
});
