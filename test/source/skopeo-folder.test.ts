/** What skopeo's `dir:` and `podman save --format docker-dir` write. */
import { describe, expect, test } from "bun:test";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { readSkopeoFolder } from "../../src/source/files/skopeo-folder.ts";
import { listImages } from "../../src/source/list-images.ts";
import {
  type FixtureTree,
  fixtureImage,
  manifestOf,
  multiPlatform,
  platformImage,
} from "../support/image-fixture.ts";
import { classicFiles, type FixtureFiles } from "../support/image-forms.ts";
import { FORMS, onlyImage, openFixture } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";
import { bytesOf } from "../support/stored-bytes.ts";

const VERSION = "Directory Transport Version: 1.1\n";

/** The blobs of a tree under their bare digests, as skopeo names them. */
function skopeoFiles({ root, files }: FixtureTree, manifests: readonly FixtureTree[] = []): FixtureFiles {
  const hexOf = (path: string) => path.slice("blobs/sha256/".length);
  const isManifest = new Set(manifests.map((each) => each.root.path));
  const blobs = Object.entries(files).filter(([path]) => path !== root.path);
  return {
    version: VERSION,
    "manifest.json": root.bytes,
    ...Object.fromEntries(
      blobs.map(([path, bytes]) => [
        isManifest.has(path) ? `${hexOf(path)}.manifest.json` : hexOf(path),
        bytes,
      ]),
    ),
  };
}

describe.each(FORMS)("a folder of skopeo's (%s)", (form) => {
  async function list(files: FixtureFiles) {
    await using fixture = await openFixture(form, files);
    const { candidates } = await listImages(fixture.files);
    return await Promise.all(
      candidates.map(async ({ read, ...rest }) => {
        const content = await read();
        const layers = content.kind === "image" ? content.layers : [];
        return {
          ...rest,
          content,
          contents: await Promise.all(layers.map((layer) => bytesOf(layer.content))),
        };
      }),
    );
  }

  test("has compressed layers, and its own manifest, where it comes from a registry", async () => {
    const tree = platformImage("amd64", [1, 2]);
    const [found, ...others] = await list(skopeoFiles(tree));
    expect(others).toEqual([]);
    expect([found?.names, found?.digests.map(String)]).toEqual([[], [tree.root.digest]]);
    expect(onlyImage(found?.content).manifest?.bytes).toEqual(tree.root.bytes);
    expect(found?.contents).toEqual(tree.layers.map(({ bytes }) => bytes));
  });

  test("has raw layers, in a manifest of Docker's type, where it is Podman's docker-dir", async () => {
    const image = fixtureImage(1, 2);
    const mediaType = "application/vnd.docker.distribution.manifest.v2+json";
    const tree = manifestOf(image.config, image.layers, {
      configType: "application/vnd.docker.container.image.v1+json",
      layerType: "application/vnd.docker.image.rootfs.diff.tar",
      more: { mediaType },
    });
    const [found] = await list(skopeoFiles(tree));
    const { layers, manifest } = onlyImage(found?.content);
    expect(layers.map(({ compression, diffId }) => [compression, String(diffId)])).toEqual(
      image.diffIds.map((diffId) => ["none", diffId]),
    );
    expect(manifest?.mediaType).toBe(mediaType);
    expect(found?.contents).toEqual([...image.layers]);
  });

  test("may have an index, which lists manifests that lie beside it", async () => {
    const multi = multiPlatform();
    const parts = [multi.amd64, multi.arm64, multi.aboutAmd64, multi.aboutArm64];
    const [found] = await list(skopeoFiles(multi, parts));
    expect(found?.content).toMatchObject({
      kind: "index",
      manifest: { digest: multi.root.digest },
      children: parts.map(({ root }) => ({ content: { manifest: { digest: root.digest } } })),
    });
  });

  test("names the blob that is not there, and has a media type of manifests alone", async () => {
    const { layers, ...tree } = platformImage("amd64", [1], { mediaType: "text/html\r\nx-evil: 1" });
    const hex = layers[0]?.digest.slice("sha256:".length) ?? "";
    const { [hex]: _, ...files } = skopeoFiles(tree);
    expect((await list(files))[0]?.content).toEqual({ kind: "missing", path: `blobs/sha256/${hex}` });
    expect(onlyImage((await list(skopeoFiles(tree)))[0]?.content).manifest?.mediaType).toBeUndefined();
  });

  test("is refused with a config that does not have the digest of its name", async () => {
    const tree = platformImage("amd64", [1]);
    const files = { ...skopeoFiles(tree), [tree.configHex]: "{}" };
    expect((await rejection(list(files))).code).toBe("CONTENT_MISMATCH");
  });

  test("is Docker's archive where the file version is another program's", async () => {
    const [found] = await list({ ...classicFiles(fixtureImage(1), ["my/app:v1"]), version: "1.0" });
    expect([found?.names, found?.content.kind]).toEqual([["my/app:v1"], "image"]);
  });

  test.each([
    ["there is no manifest.json", { version: VERSION }],
    ["manifest.json is no JSON", { version: VERSION, "manifest.json": "{" }],
    ["manifest.json is a list", { version: VERSION, "manifest.json": "[]" }],
  ])("is no image where %s", async (_, files) => {
    expect((await rejection(list(files))).code).toMatch(/^IMAGE_IN(?:VALID|COMPLETE)$/);
  });
});

test("Layers that registries are not given need not be in such a folder", async () => {
  const layerType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  const image = fixtureImage(1);
  const { root, files, layers } = manifestOf(image.config, [Buffer.from("foreign")], { layerType });
  const { [layers[0]?.path ?? ""]: _, ...rest } = files;
  await using fixture = await openFixture("folder", skopeoFiles({ root, files: rest }));
  const content = await (await listImages(fixture.files)).candidates[0]?.read();
  expect(content).toMatchObject({
    kind: "artifact",
    manifest: { bytes: root.bytes },
    blobs: [{ descriptor: { mediaType: MEDIA_TYPE.config } }],
  });
});

test("A file version that cannot be read is named", async () => {
  const content = Bun.file(`${import.meta.dir}/no such file`).slice(0, 10);
  const error = await rejection(readSkopeoFolder({ title: "folder", open: async () => content }));
  expect(error.code).toBe("FILE_FAILED");
  expect(error.message).toContain('"version"');
});
