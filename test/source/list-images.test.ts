/** What an archive with a manifest.json beside an OCI layout holds: names from the one, manifests from the other. */
import { describe, expect, test } from "bun:test";
import { manifestDigestsOf } from "../../src/oci/content.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { bestNamed } from "../../src/oci/image-name.ts";
import { listImages } from "../../src/source/list-images.ts";
import {
  attestationOf,
  blobOf,
  descriptorOf,
  type FixtureBlob,
  filesOf,
  fixtureImage,
  indexOf,
  manifestOf,
  multiPlatform,
  platformEntry,
  platformImage,
  untypedManifest,
} from "../support/image-fixture.ts";
import { classicFiles, type FixtureFiles, layoutFiles } from "../support/image-forms.ts";
import { inMemory, onlyImage } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";

const CONTAINERD_NAME = "io.containerd.image.name";

type Saved = ReturnType<typeof platformImage>;

/** An entry of `manifest.json`, as the containerd store writes it. */
function archived({ configHex, layers }: Pick<Saved, "configHex" | "layers">, ...names: readonly string[]) {
  return {
    Config: `blobs/sha256/${configHex}`,
    RepoTags: names.length === 0 ? null : names,
    Layers: layers.map(({ path }) => path),
  };
}

const named = (blob: FixtureBlob, name: string, mediaType: string = MEDIA_TYPE.manifest) =>
  descriptorOf(blob, mediaType, { annotations: { [CONTAINERD_NAME]: name } });

async function list(files: FixtureFiles) {
  const { candidates } = await listImages(inMemory(files));
  return await Promise.all(
    candidates.map(async ({ names, read }) => {
      const content = await read();
      if (content.kind === "missing") throw new Error(`The fixture lacks ${content.path}.`);
      return { names, content, manifests: manifestDigestsOf(content).map(String) };
    }),
  );
}

const amd64 = platformImage("amd64", [1, 2]);
const other = platformImage("amd64", [7]);

describe("an archive of the containerd store", () => {
  test("has the image's own manifest, found by name", async () => {
    const [found, ...others] = await list({
      ...layoutFiles([named(amd64.root, "docker.io/my/app:v1")]),
      ...amd64.files,
      "manifest.json": JSON.stringify([archived(amd64, "my/app:v1")]),
    });
    expect(others).toEqual([]);
    expect([found?.names, found?.manifests]).toEqual([["my/app:v1"], [amd64.root.digest]]);
    expect(onlyImage(found?.content).manifest?.bytes).toEqual(amd64.root.bytes);
  });

  test("has it, found by its config, where it was saved by its ID and has no name", async () => {
    const [found] = await list({
      ...layoutFiles([
        descriptorOf(other.root, MEDIA_TYPE.manifest),
        descriptorOf(amd64.root, MEDIA_TYPE.manifest),
      ]),
      ...amd64.files,
      ...other.files,
      "manifest.json": JSON.stringify([archived(amd64)]),
    });
    expect([found?.names, found?.manifests]).toEqual([[], [amd64.root.digest]]);
  });

  test("has the whole index with its attestation, found by the image of this machine", async () => {
    const about = attestationOf(amd64.root);
    const index = indexOf([amd64.entry, about.entry, platformImage("s390x", [9]).entry]);
    const [found] = await list({
      ...layoutFiles([named(index, "docker.io/my/app:v1", MEDIA_TYPE.index)]),
      ...amd64.files,
      ...about.files,
      ...filesOf([index]),
      "manifest.json": JSON.stringify([archived(amd64, "my/app:v1")]),
    });
    expect(found?.manifests).toEqual([index.digest, amd64.root.digest, about.root.digest]);
  });

  test("has the index of several platforms where manifest.json has but the layers of one", async () => {
    const multi = multiPlatform();
    const [found, ...others] = await list({
      ...layoutFiles([named(multi.root, "docker.io/my/app:v1", MEDIA_TYPE.index)]),
      ...multi.files,
      "manifest.json": JSON.stringify([archived(multi.arm64, "my/app:v1")]),
    });
    expect(others).toEqual([]);
    expect(found?.manifests).toContain(multi.amd64.root.digest);
  });

  test("tells two images of one config apart by their names", async () => {
    const annotated = platformImage("amd64", [1, 2], { annotations: { a: "b" } });
    expect(annotated.configHex).toBe(amd64.configHex);
    const index = indexOf([annotated.entry, attestationOf(annotated.root).entry]);
    const plain = named(amd64.root, "docker.io/my/plain:v1");
    for (const entries of [
      [named(index, "docker.io/my/app:v1", MEDIA_TYPE.index), plain],
      [plain, named(index, "docker.io/my/app:v1", MEDIA_TYPE.index)],
    ]) {
      const found = await list({
        ...layoutFiles(entries),
        ...amd64.files,
        ...annotated.files,
        ...filesOf([index]),
        "manifest.json": JSON.stringify([archived(amd64, "my/app:v1"), archived(amd64, "my/plain:v1")]),
      });
      expect(found.map(({ names, manifests }) => [names, manifests[0]])).toEqual([
        [["my/app:v1"], index.digest],
        [["my/plain:v1"], amd64.root.digest],
      ]);
    }
  });

  test("knows an image by the digest of its manifest, too, which tells images of one config apart", async () => {
    const files = inMemory({
      ...layoutFiles([named(amd64.root, "docker.io/my/app:v1"), named(other.root, "docker.io/their/app:v1")]),
      ...amd64.files,
      ...other.files,
      "manifest.json": JSON.stringify([archived(amd64, "my/app:v1"), archived(amd64, "their/app:v1")]),
    });
    const { candidates } = await listImages(files);
    const digests = (wanted: string) =>
      bestNamed(candidates, [wanted]).map((each) => each.digests[0] as string);
    expect(digests(amd64.root.digest)).toEqual([amd64.root.digest]);
    expect(digests(`sha256:${amd64.configHex}`)).toEqual([amd64.root.digest, other.root.digest]);
  });

  test("has the manifest of an official image, whose name Docker shortens", async () => {
    const [found] = await list({
      ...layoutFiles([
        named(other.root, "docker.io/library/x:v1"),
        named(amd64.root, "docker.io/library/nginx:v1"),
      ]),
      ...amd64.files,
      ...other.files,
      "manifest.json": JSON.stringify([archived(amd64, "nginx:v1")]),
    });
    expect(found?.manifests).toEqual([amd64.root.digest]);
  });

  test("does not give an image the manifest of another one that has its name", async () => {
    const [found] = await list({
      ...layoutFiles([named(other.root, "docker.io/my/app:v1")]),
      ...amd64.files,
      ...other.files,
      "manifest.json": JSON.stringify([archived(amd64, "my/app:v1")]),
    });
    expect(found?.manifests).toEqual([]);
    expect(onlyImage(found?.content).layers.map(({ diffId }) => String(diffId))).toEqual([...amd64.diffIds]);
  });

  test("is read without a manifest where the layout lacks it", async () => {
    const { [amd64.root.path]: _, ...files } = amd64.files;
    const [found] = await list({
      ...layoutFiles([named(amd64.root, "docker.io/my/app:v1")]),
      ...files,
      "manifest.json": JSON.stringify([archived(amd64, "my/app:v1")]),
    });
    expect(onlyImage(found?.content).manifest).toBeUndefined();
  });

  test("has a manifest of which a few layers are not compressed", async () => {
    const image = fixtureImage(1, 2);
    const [first, second] = image.layers;
    const mixed = manifestOf(image.config, [
      Bun.gzipSync(first as Uint8Array<ArrayBuffer>),
      second as Uint8Array,
    ]);
    const [found] = await list({
      ...layoutFiles([platformEntry(mixed.root, "amd64")]),
      ...mixed.files,
      "manifest.json": JSON.stringify([archived({ ...mixed, configHex: image.configHex }, "my/app:v1")]),
    });
    expect(found?.manifests).toEqual([mixed.root.digest]);
  });
});

describe("an archive of a classic store", () => {
  const image = fixtureImage(1, 2, 1);
  const raw = untypedManifest(image, (layer) => layer, MEDIA_TYPE.layer.none);
  const json = JSON.stringify([
    {
      Config: raw.config.path,
      RepoTags: ["my/app:v1"],
      Layers: raw.layers.map(({ path }) => path),
      LayerSources: {},
    },
  ]);

  test("has no manifest of its own: the one in it lists uncompressed layers", async () => {
    const [found] = await list({
      ...layoutFiles([named(raw.root, "docker.io/my/app:v1")]),
      ...raw.files,
      "manifest.json": json,
    });
    expect(onlyImage(found?.content).manifest).toBeUndefined();
    expect(onlyImage(found?.content).layers.map(({ diffId }) => String(diffId))).toEqual([...image.diffIds]);
  });

  test("of Docker 25.0 has a manifest without layers, and manifest.json counts", async () => {
    const broken = blobOf(
      JSON.stringify({
        schemaVersion: 2,
        config: { ...descriptorOf(raw.config, MEDIA_TYPE.config), size: 7 },
        layers: null,
      }),
    );
    const [found] = await list({
      ...layoutFiles([{ ...named(broken, "docker.io/my/app:v1"), size: 7 }]),
      ...raw.files,
      ...filesOf([broken]),
      "manifest.json": json,
    });
    const { layers, manifest } = onlyImage(found?.content);
    expect(manifest).toBeUndefined();
    expect(layers.map(({ name }) => name)).toEqual(raw.layers.map(({ path }) => path));
  });

  test("of Docker 24 and before has no layout", async () => {
    const [found] = await list(classicFiles(image, ["my/app:v1"]));
    expect([found?.names, found?.manifests]).toEqual([["my/app:v1"], []]);
  });
});

test("A layout alone is what its index lists, an image under several names once", async () => {
  const found = await list({
    ...layoutFiles([
      named(amd64.root, "my/app:v1"),
      named(other.root, "my/other:v1"),
      named(amd64.root, "my/app:v2"),
    ]),
    ...amd64.files,
    ...other.files,
  });
  expect(found.map(({ names, manifests }) => [names, manifests])).toEqual([
    [["my/app:v1", "my/app:v2"], [amd64.root.digest]],
    [["my/other:v1"], [other.root.digest]],
  ]);
});

test("What has neither manifest.json nor index.json is no image", async () => {
  expect((await rejection(list({ "etc/hosts": "127.0.0.1" }))).code).toBe("SOURCE_NOT_IMAGE");
});
