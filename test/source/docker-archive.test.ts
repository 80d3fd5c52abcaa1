import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { readDockerArchive } from "../../src/source/files/docker-archive.ts";
import { blobOf, filesOf, fixtureImage, untypedManifest } from "../support/image-fixture.ts";
import { classicFiles, type FixtureFiles, layoutFiles, podmanFiles } from "../support/image-forms.ts";
import { FORMS, openFixture } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";
import { bytesOf } from "../support/stored-bytes.ts";

const image = fixtureImage(1, 2, 1);
const one = fixtureImage(7);

describe.each(FORMS)("a docker archive (%s)", (form) => {
  async function load(files: FixtureFiles) {
    await using fixture = await openFixture(form, files);
    const [saved, ...others] = (await readDockerArchive(fixture.files)) ?? [];
    expect(others).toEqual([]);
    if (saved === undefined) throw new Error("expected an image");
    const loaded = await saved.read();
    const layers = await Promise.all(
      loaded.layers.map(async (layer) => ({ ...layer, content: new Blob([await bytesOf(layer.content)]) })),
    );
    return { ...loaded, layers, names: saved.names };
  }

  test("of engine 24 and before has its layers in the config's order, equal ones behind symlinks", async () => {
    const loaded = await load(classicFiles(image, ["my/app:v1", "my/app:v2"]));
    expect(loaded.names).toEqual(["my/app:v1", "my/app:v2"]);
    expect(loaded.platform).toBe("linux/amd64");
    expect(loaded.config.descriptor).toEqual({
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: digestOf(new TextEncoder().encode(image.config)),
      size: Buffer.byteLength(image.config),
    });
    expect(await loaded.config.content.text()).toBe(image.config);
    expect(loaded.layers.map((layer) => String(layer.diffId))).toEqual([...image.diffIds]);
    expect(loaded.layers.map((layer) => layer.compression)).toEqual(["none", "none", "none"]);
    expect(loaded.layers.map((layer) => layer.claimedDigest)).toEqual([undefined, undefined, undefined]);
    for (const [i, layer] of loaded.layers.entries()) {
      expect(await layer.content.bytes()).toEqual(image.layers[i] ?? new Uint8Array());
    }
  });

  test("of podman has layers named by diffID, and symlinks beside them", async () => {
    const loaded = await load(podmanFiles(image, ["localhost/my/app:v1"]));
    expect(loaded.names).toEqual(["localhost/my/app:v1"]);
    for (const [i, layer] of loaded.layers.entries()) {
      expect(await layer.content.bytes()).toEqual(image.layers[i] ?? new Uint8Array());
    }
  });

  test("of engine 25 and later is read by the stronger of manifest.json and the OCI layout beside it", async () => {
    const blobs = untypedManifest(image);
    const manifest = [
      { Config: blobs.config.path, RepoTags: ["my/app:v1"], Layers: blobs.layers.map(({ path }) => path) },
    ];
    const loaded = await load({
      ...layoutFiles([]),
      ...blobs.files,
      "manifest.json": JSON.stringify(manifest),
    });
    expect(loaded.names).toEqual(["my/app:v1"]);
    expect(loaded.layers.map((layer) => String(layer.claimedDigest))).toEqual([...image.diffIds]);
    expect(await loaded.layers[1]?.content.bytes()).toEqual(image.layers[1] ?? new Uint8Array());
  });

  test("of the containerd store has compressed layers, told by their bytes, under their own digests", async () => {
    const packs = [Bun.gzipSync, Bun.zstdCompressSync, (bytes: Uint8Array) => bytes];
    const layers = image.layers.map((layer, i) => blobOf((packs[i] ?? Bun.gzipSync)(layer)));
    const config = blobOf(image.config);
    const manifest = [{ Config: config.path, RepoTags: null, Layers: layers.map(({ path }) => path) }];
    const loaded = await load({ ...filesOf([config, ...layers]), "manifest.json": JSON.stringify(manifest) });
    expect(loaded.layers.map((layer) => layer.compression)).toEqual(["gzip", "zstd", "none"]);
    expect(loaded.layers.map((layer) => String(layer.claimedDigest))).toEqual(
      layers.map(({ digest }) => digest),
    );
    expect(loaded.layers.map((layer) => String(layer.diffId))).toEqual([...image.diffIds]);
  });

  test.each([[null], [[]]])("with RepoTags of %j is an image without a name", async (names) => {
    expect((await load(classicFiles(one, names))).names).toEqual([]);
  });

  test("without RepoTags is an image without a name", async () => {
    const manifest = JSON.stringify([{ Config: "c.json", Layers: ["l.tar"] }]);
    const files = { "c.json": one.config, "l.tar": one.layers[0] ?? "", "manifest.json": manifest };
    expect((await load(files)).names).toEqual([]);
  });

  const empty = fixtureImage();
  test.each([`"Layers":null`, `"Layers":[]`, `"x":1`])(
    "may be an image without layers: %s",
    async (layers) => {
      const manifest = `[{"Config":"${empty.configHex}.json","RepoTags":["a:b"],${layers}}]`;
      const loaded = await load({ [`${empty.configHex}.json`]: empty.config, "manifest.json": manifest });
      expect(loaded.layers).toEqual([]);
      expect(loaded.names).toEqual(["a:b"]);
    },
  );

  test("is not recognized without manifest.json", async () => {
    await using fixture = await openFixture(form, layoutFiles([]));
    expect(await readDockerArchive(fixture.files)).toBeUndefined();
  });

  test("of several images has each with its names and its own config, and none is read before it is asked for", async () => {
    const [first, second] = [fixtureImage(3), fixtureImage(4)];
    const entries = [first, second].map((each, i) => ({
      Config: `${each.configHex}.json`,
      RepoTags: [`app:${i}`],
      Layers: [`${i}.tar`],
    }));
    await using fixture = await openFixture(form, {
      [`${second.configHex}.json`]: second.config,
      "1.tar": second.layers[0] ?? "",
      "manifest.json": JSON.stringify(entries),
    });
    const saved = (await readDockerArchive(fixture.files)) ?? [];
    expect(saved.map(({ names }) => names)).toEqual([["app:0"], ["app:1"]]);
    expect(String((await saved[1]?.read())?.layers[0]?.diffId)).toBe(String(second.diffIds[0]));
    expect((await rejection(saved[0]?.read() ?? Promise.resolve())).code).toBe("IMAGE_INCOMPLETE");
  });

  const manifests: [manifest: string, field: string][] = [
    ["", "not valid JSON"],
    ["[", "not valid JSON"],
    ["{}", "the document"],
    ["null", "the document"],
    ["[]", "the document"],
    ["[7]", "0"],
    ["[null]", "0"],
    ["[{}]", "0.Config"],
    [`[{"Config":7}]`, "0.Config"],
    [`[{"Config":""}]`, "0.Config"],
    [`[{"Config":"c","Layers":"l"}]`, "0.Layers"],
    [`[{"Config":"c","Layers":{}}]`, "0.Layers"],
    [`[{"Config":"c","Layers":[null]}]`, "0.Layers.0"],
    [`[{"Config":"c","Layers":["l",["m"]]}]`, "0.Layers.1"],
    [`[{"Config":"c","Layers":[""]}]`, "0.Layers.0"],
    [`[{"Config":"c","RepoTags":"a:b"}]`, "0.RepoTags"],
    [`[{"Config":"c"},{"Config":"c","RepoTags":[1]}]`, "1.RepoTags.0"],
  ];
  test.each(manifests)("is refused with the manifest %j, naming file and field", async (manifest, field) => {
    await using fixture = await openFixture(form, { "manifest.json": manifest });
    const error = await rejection(readDockerArchive(fixture.files));
    expect(error.code).toBe("IMAGE_INVALID");
    expect(error.message).toContain(`"manifest.json" in the ${form} "fixture"`);
    expect(error.message).toContain(`: ${field === "not valid JSON" ? `it is ${field}` : `${field}:`}`);
  });

  test.each([
    ["images", Array.from({ length: 1001 }, () => ({ Config: "c" }))],
    ["names", [{ Config: "c", RepoTags: Array.from({ length: 10_001 }, (_, i) => `app:${i}`) }]],
  ])("is refused with more %s in its manifest.json than an archive has", async (_, entries) => {
    await using fixture = await openFixture(form, { "manifest.json": JSON.stringify(entries) });
    const error = await rejection(readDockerArchive(fixture.files));
    expect([error.code, error.message]).toEqual([
      "IMAGE_INVALID",
      expect.stringContaining("too many images"),
    ]);
  });

  test("is refused with a manifest.json too large to be one", async () => {
    await using fixture = await openFixture(form, { "manifest.json": " ".repeat(4 * 1024 * 1024 + 1) });
    const error = await rejection(readDockerArchive(fixture.files));
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringContaining("4194305 bytes")]);
  });

  test("is refused with a config that does not have the digest of its name", async () => {
    const files = { ...classicFiles(one, null), [`${one.configHex}.json`]: one.config.replace("Zoë", "Zoe") };
    const error = await rejection(load(files));
    expect([error.code, error.message]).toEqual(["CONTENT_MISMATCH", expect.stringContaining(one.configHex)]);
  });

  test("is refused with such a config among blobs, too", async () => {
    const blobs = untypedManifest(one);
    const manifest = [{ Config: blobs.config.path, Layers: blobs.layers.map(({ path }) => path) }];
    const files = {
      ...blobs.files,
      [blobs.config.path]: `${one.config} `,
      "manifest.json": JSON.stringify(manifest),
    };
    expect((await rejection(load(files))).code).toBe("CONTENT_MISMATCH");
  });

  test("is refused with a config of wrong types, naming file and field", async () => {
    const files = { "c.json": `{"rootfs":{"diff_ids":[1]}}`, "manifest.json": `[{"Config":"c.json"}]` };
    const error = await rejection(load(files));
    expect(error.code).toBe("IMAGE_INVALID");
    expect(error.message).toContain(`"c.json" in the ${form} "fixture": rootfs.diff_ids.0:`);
  });

  const counts: [layers: string[], message: RegExp][] = [
    [[], /lists 0 layers.* lists 1/],
    [["l.tar", "l.tar"], /lists 2 layers.* lists 1/],
  ];
  test.each(counts)("is refused with the layers %j for a config with one layer", async (layers, message) => {
    const manifest = JSON.stringify([{ Config: "c.json", Layers: layers }]);
    const error = await rejection(
      load({ "c.json": one.config, "l.tar": one.layers[0] ?? "", "manifest.json": manifest }),
    );
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringMatching(message)]);
  });

  const tricks = ["../../../../../../../../etc/passwd", "/etc/passwd", "absent.tar", "a/../../secret", "."];
  test.each(tricks)("reads nothing for the layer or config %j", async (path) => {
    const asLayer = JSON.stringify([{ Config: "c.json", Layers: [path] }]);
    const error = await rejection(load({ "c.json": one.config, "manifest.json": asLayer }));
    expect(["IMAGE_INCOMPLETE", "ARCHIVE_INVALID"]).toContain(error.code);
    expect(error.message).toContain(`"${path}"`);

    const asConfig = JSON.stringify([{ Config: path, Layers: [] }]);
    const configError = await rejection(load({ "manifest.json": asConfig }));
    expect(["IMAGE_INVALID", "IMAGE_INCOMPLETE", "ARCHIVE_INVALID"]).toContain(configError.code);
    expect(configError.message).toContain(`"${path}"`);
  });

  test("that lacks a layer is refused, naming it, and says what to do", async () => {
    const files = Object.fromEntries(
      Object.entries(classicFiles(image, null)).filter(([name]) => !name.endsWith("/layer.tar")),
    );
    const error = await rejection(load(files));
    expect([error.code, error.message]).toEqual(["IMAGE_INCOMPLETE", expect.stringContaining("/layer.tar")]);
    expect(error.hint).toBeString();
  });
});
