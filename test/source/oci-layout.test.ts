import { describe, expect, test } from "bun:test";
import { contentReader, lacks } from "../../src/source/files/content.ts";
import { readOciLayout } from "../../src/source/files/oci-layout.ts";
import {
  blobOf,
  type FixtureBlob,
  filesOf,
  fixtureImage,
  hex,
  untypedManifest,
} from "../support/image-fixture.ts";
import { type FixtureFiles, layoutFiles } from "../support/image-forms.ts";
import { FORMS, onlyImage, openFixture } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";
import { bytesOf } from "../support/stored-bytes.ts";

const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const ABSENT = `sha256:${"a".repeat(64)}`;

const image = fixtureImage(1, 2, 1);
const raw = untypedManifest(image);
const gzip = untypedManifest(image, (layer) => Bun.gzipSync(layer));
const arm64 = untypedManifest(fixtureImage(5));
const zstd = untypedManifest(image, (layer) => Bun.zstdCompressSync(layer));

function entry({ digest, bytes }: FixtureBlob, more: object = {}) {
  return { mediaType: MANIFEST_TYPE, digest, size: bytes.length, ...more };
}

function manifestOf({ digest, bytes }: FixtureBlob) {
  return { digest, bytes };
}

function indexBlob(manifests: readonly unknown[], more: object = {}): FixtureBlob {
  return blobOf(JSON.stringify({ schemaVersion: 2, ...more, manifests }));
}

describe.each(FORMS)("an OCI layout (%s)", (form) => {
  /** What the layout lists, read. Throws for what lacks a part, as a push does. */
  async function list(files: FixtureFiles) {
    await using fixture = await openFixture(form, files);
    const layout = await readOciLayout(fixture.files, contentReader(fixture.files));
    return await Promise.all(
      (layout?.candidates ?? []).map(async ({ read, ...listed }) => {
        const content = await read();
        if (content.kind === "missing") throw lacks(fixture.files.title, content);
        // The fixture is gone after this.
        const layers = content.kind === "image" ? content.layers : [];
        const contents = await Promise.all(layers.map((layer) => bytesOf(layer.content)));
        return { ...listed, content, layers: contents.map(hex) };
      }),
    );
  }

  /** The one image of a layout. */
  async function load(files: FixtureFiles) {
    const [found, ...others] = await list(files);
    expect(others).toEqual([]);
    return { ...onlyImage(found?.content), names: found?.names, contents: found?.layers };
  }

  const kinds = [
    ["none", raw],
    ["gzip", gzip],
    ["zstd", zstd],
  ] as const;
  test.each(kinds)(
    "may be a folder with index.json and blobs/ alone, whose compression is %s",
    async (compression, blobs) => {
      const { "oci-layout": _, ...files } = { ...layoutFiles([entry(blobs.root)]), ...blobs.files };
      const loaded = await load(files);
      expect(loaded.names).toEqual([]);
      expect(loaded.platform).toBe("linux/amd64");
      expect(String(loaded.config.descriptor.digest)).toBe(blobs.config.digest);
      expect(loaded.layers.map((layer) => layer.compression)).toEqual([
        compression,
        compression,
        compression,
      ]);
      expect(loaded.layers.map((layer) => String(layer.diffId))).toEqual([...image.diffIds]);
      expect(loaded.layers.map((layer) => String(layer.claimedDigest))).toEqual(
        blobs.layers.map(({ digest }) => digest),
      );
      expect(loaded.contents).toEqual(blobs.layers.map(({ digest }) => digest.slice(7)));
    },
  );

  test("may have media types that lie about the compression, and wrong sizes", async () => {
    const config = blobOf(image.config);
    const manifest = blobOf(
      JSON.stringify({
        config: { digest: config.digest, size: 1 },
        layers: gzip.layers.map(({ digest }) => ({
          mediaType: "application/vnd.oci.image.layer.v1.tar",
          digest,
          size: 0,
        })),
      }),
    );
    const loaded = await load({
      ...layoutFiles([entry(manifest, { size: 1 })]),
      ...gzip.files,
      ...filesOf([manifest]),
    });
    expect(loaded.layers.map((layer) => layer.compression)).toEqual(["gzip", "gzip", "gzip"]);
    expect(loaded.layers.map((layer) => layer.content.size)).toEqual(
      gzip.layers.map(({ bytes }) => bytes.length),
    );
  });

  const names: [what: string, annotations: Record<string, string> | null, names: string[]][] = [
    ["none", {}, []],
    ["null", null, []],
    ["the tag alone", { "org.opencontainers.image.ref.name": "v1" }, ["v1"]],
    [
      "containerd's name first",
      {
        "org.opencontainers.image.ref.name": "v1",
        "io.containerd.image.name": "docker.io/my/app:v1",
      },
      ["docker.io/my/app:v1"],
    ],
  ];
  test.each(names)("is read with these annotations: %s", async (_, annotations, expected) => {
    const loaded = await load({ ...layoutFiles([entry(raw.root, { annotations })]), ...raw.files });
    expect(loaded.names).toEqual(expected);
  });

  test.each([INDEX_TYPE, LIST_TYPE])(
    "has an index as one entry, with its names and in its order, without content for what is not there: %s",
    async (mediaType) => {
      const nested = indexBlob(
        [
          entry(blobOf("absent"), { digest: ABSENT, platform: { os: "linux", architecture: "s390x" } }),
          entry(gzip.root, { platform: { os: "linux", architecture: "amd64" } }),
          entry(arm64.root, { platform: { os: "linux", architecture: "arm64" } }),
        ],
        { mediaType },
      );
      const annotations = { "io.containerd.image.name": "docker.io/my/app:v1" };
      const [found, ...others] = await list({
        ...layoutFiles([entry(nested, { mediaType, annotations })]),
        ...gzip.files,
        ...arm64.files,
        ...filesOf([nested]),
      });
      expect(others).toEqual([]);
      expect(found).toMatchObject({
        names: ["docker.io/my/app:v1"],
        digests: [nested.digest],
        content: {
          kind: "index",
          manifest: { mediaType, digest: nested.digest, bytes: nested.bytes },
          children: [
            { entry: { platform: "linux/s390x" }, content: undefined },
            { entry: { platform: "linux/amd64" }, content: { manifest: { digest: gzip.root.digest } } },
            { entry: { platform: "linux/arm64" }, content: { manifest: { digest: arm64.root.digest } } },
          ],
        },
      });
    },
  );

  test.each([
    ["a layer", arm64.layers[0]],
    ["the config", arm64.config],
  ])("has no content for an image of an index that lacks %s", async (_, lacking) => {
    const nested = indexBlob([entry(gzip.root), entry(arm64.root)]);
    const { [lacking?.path ?? ""]: __, ...files } = { ...gzip.files, ...arm64.files };
    const [found] = await list({ ...layoutFiles([entry(nested)]), ...files, ...filesOf([nested]) });
    expect(found?.content).toMatchObject({
      children: [{ content: { kind: "image" } }, { content: undefined }],
    });
  });

  test("is read without entries that are not there, and attestations about them", async () => {
    const attestation = entry(indexBlob([]), { platform: { os: "unknown", architecture: "unknown" } });
    const found = await list({
      ...layoutFiles([{ digest: ABSENT }, attestation, entry(raw.root)]),
      ...raw.files,
      ...filesOf([indexBlob([])]),
    });
    expect(found.map(({ digests }) => String(digests))).toEqual([raw.root.digest]);
  });

  test("has an image that is listed under several names as one entry", async () => {
    const named = (name: string) =>
      entry(raw.root, { annotations: { "org.opencontainers.image.ref.name": name } });
    const { names } = await load({ ...layoutFiles([named("v1"), named("latest")]), ...raw.files });
    expect(names).toEqual(["v1", "latest"]);
  });

  test("of engine 25.0 has a manifest without layers, whose raw blobs are named by diffID", async () => {
    for (const layers of [{ layers: null }, { layers: [] }, {}]) {
      const manifest = blobOf(JSON.stringify({ config: { digest: raw.config.digest }, ...layers }));
      const loaded = await load({
        ...layoutFiles([entry(manifest)]),
        ...raw.files,
        ...filesOf([manifest]),
      });
      expect(loaded.contents).toEqual(raw.layers.map(({ digest }) => digest.slice(7)));
    }
  });

  test("may have an image without layers", async () => {
    const blobs = untypedManifest(fixtureImage());
    const loaded = await load({ ...layoutFiles([entry(blobs.root)]), ...blobs.files });
    expect(loaded.layers).toEqual([]);
  });

  const DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json";
  const types: [own: string | undefined, listed: string | undefined, type: string | undefined][] = [
    [MANIFEST_TYPE, MANIFEST_TYPE, MANIFEST_TYPE],
    [DOCKER_TYPE, MANIFEST_TYPE, DOCKER_TYPE],
    [undefined, DOCKER_TYPE, DOCKER_TYPE],
    // OCI only recommends it.
    [undefined, undefined, MANIFEST_TYPE],
    [undefined, INDEX_TYPE, MANIFEST_TYPE],
    // It becomes a header of the request: what is no manifest's type is not sent as one.
    [undefined, "application/json\r\nx-evil: 1", MANIFEST_TYPE],
    ["text/html", MANIFEST_TYPE, undefined],
    [INDEX_TYPE, MANIFEST_TYPE, undefined],
    ["application/json\r\nx-evil: 1", MANIFEST_TYPE, undefined],
  ];
  test.each(types)(
    "with a manifest of type %j, listed as %j, has it go up as %j",
    async (own, listed, type) => {
      const layers = gzip.layers.map(({ digest, bytes }) => ({ digest, size: bytes.length }));
      const config = { digest: gzip.config.digest, size: gzip.config.bytes.length };
      const manifest = blobOf(JSON.stringify({ schemaVersion: 2, mediaType: own, config, layers }));
      const loaded = await load({
        ...layoutFiles([entry(manifest, { mediaType: listed })]),
        ...gzip.files,
        ...filesOf([manifest]),
      });
      expect(loaded.manifest as unknown).toEqual({
        ...manifestOf(manifest),
        mediaType: type,
        config,
        layers,
      });
    },
  );

  test("is not recognized without index.json", async () => {
    await using fixture = await openFixture(form, { "oci-layout": "{}" });
    expect(await readOciLayout(fixture.files, contentReader(fixture.files))).toBeUndefined();
  });

  test("may have indexes in indexes, but not without end", async () => {
    const nest = (depth: number) => {
      const blobs = [raw.root];
      for (let i = 0; i < depth; i++) blobs.unshift(indexBlob([entry(blobs[0] ?? raw.root)]));
      return { ...layoutFiles([entry(blobs[0] ?? raw.root)]), ...raw.files, ...filesOf(blobs) };
    };
    expect((await list(nest(4))).map(({ content }) => content.kind)).toEqual(["index"]);
    const error = await rejection(list(nest(100)));
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringContaining("too deep")]);
  });

  test("whose indexes list each other comes to an end", async () => {
    // A digest that an index would have to know before it is written: only a forged name makes a circle.
    const other = ABSENT.replaceAll("a", "b");
    const listing = (digest: string) => JSON.stringify({ manifests: [{ mediaType: INDEX_TYPE, digest }] });
    for (const [inA, inB] of [
      [ABSENT, other],
      [other, ABSENT],
    ] as const) {
      const error = await rejection(
        list({
          "index.json": listing(ABSENT),
          [`blobs/sha256/${ABSENT.slice(7)}`]: listing(inA),
          [`blobs/sha256/${other.slice(7)}`]: listing(inB),
        }),
      );
      expect(error.code).toBe("CONTENT_MISMATCH");
    }
  });

  const indexes: [index: string, code: string, field: string][] = [
    ["", "IMAGE_INVALID", "not valid JSON"],
    ["[]", "IMAGE_INVALID", "the document"],
    ["{}", "IMAGE_INVALID", "manifests:"],
    [`{"manifests":null}`, "IMAGE_INVALID", "manifests:"],
    [`{"manifests":[7]}`, "IMAGE_INVALID", "manifests.0:"],
    [`{"manifests":[{}]}`, "IMAGE_INVALID", "manifests.0.digest:"],
    [`{"manifests":[{"digest":7}]}`, "IMAGE_INVALID", "manifests.0.digest:"],
    [`{"manifests":[{"digest":"${ABSENT}","mediaType":1}]}`, "IMAGE_INVALID", "manifests.0.mediaType:"],
    [`{"manifests":[{"digest":"${ABSENT}","platform":"linux"}]}`, "IMAGE_INVALID", "manifests.0.platform:"],
    [
      `{"manifests":[{"digest":"${ABSENT}","annotations":{"a":1}}]}`,
      "IMAGE_INVALID",
      "manifests.0.annotations.a:",
    ],
    [`{"manifests":[{"digest":"latest"}]}`, "IMAGE_INVALID", "latest"],
    [`{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`, "IMAGE_INVALID", "etc/passwd"],
    [`{"manifests":[{"digest":"sha512:${"0".repeat(128)}"}]}`, "IMAGE_INVALID", "sha512"],
  ];
  test.each(indexes)("is refused with the index %j, naming file and field", async (index, code, field) => {
    const error = await rejection(list({ "index.json": index }));
    expect(error.code as string).toBe(code);
    expect(error.message).toContain(`"index.json"`);
    expect(error.message).toContain(field);
  });

  const manifests: [manifest: object, code: string, field: string][] = [
    [{}, "IMAGE_INVALID", "config:"],
    [{ config: {} }, "IMAGE_INVALID", "config.digest:"],
    [{ config: { digest: "x" } }, "IMAGE_INVALID", "config.digest"],
    [{ config: { digest: raw.config.digest }, layers: {} }, "IMAGE_INVALID", "layers:"],
    [{ config: { digest: raw.config.digest }, layers: [{ size: 1 }] }, "IMAGE_INVALID", "layers.0.digest:"],
    [{ config: { digest: raw.config.digest }, layers: [{ digest: "../x" }] }, "IMAGE_INVALID", "../x"],
    [
      { config: { digest: raw.config.digest }, layers: [{ digest: raw.layers[0]?.digest }] },
      "IMAGE_INVALID",
      "lists 1 layers",
    ],
    [{ config: { digest: ABSENT } }, "IMAGE_INCOMPLETE", "missing"],
    [
      { config: { digest: raw.config.digest }, layers: Array(3).fill({ digest: ABSENT }) },
      "IMAGE_INCOMPLETE",
      ABSENT.slice(7),
    ],
  ];
  test.each(manifests)(
    "is refused with the manifest %j, naming file and field",
    async (content, code, field) => {
      const manifest = blobOf(JSON.stringify(content));
      const error = await rejection(
        list({ ...layoutFiles([entry(manifest)]), ...raw.files, ...filesOf([manifest]) }),
      );
      expect(error.code as string).toBe(code);
      expect(error.message).toContain("blobs/sha256/");
      expect(error.message).toContain(field);
    },
  );

  test("is refused with a config that does not have the digest of its name", async () => {
    const error = await rejection(
      list({ ...layoutFiles([entry(raw.root)]), ...raw.files, [raw.config.path]: `${image.config}\n` }),
    );
    expect([error.code, error.message]).toEqual([
      "CONTENT_MISMATCH",
      expect.stringContaining(raw.config.path),
    ]);
  });

  test("is refused with a manifest that does not have the digest of its name", async () => {
    const other = `${new TextDecoder().decode(raw.root.bytes)} `;
    const error = await rejection(
      list({ ...layoutFiles([entry(raw.root)]), ...raw.files, [raw.root.path]: other }),
    );
    expect([error.code, error.message]).toEqual(["CONTENT_MISMATCH", expect.stringContaining(raw.root.path)]);
  });

  test("is refused with an index that lists more than any image has, there or not", async () => {
    const traps = Array.from({ length: 1200 }, (_, i) => indexBlob([], { annotations: { i: `${i}` } }));
    const root = indexBlob(traps.map((trap) => entry(trap)));
    for (const files of [filesOf([root]), filesOf([root, ...traps])]) {
      const error = await rejection(list({ ...layoutFiles([entry(root)]), ...files }));
      expect([error.code, error.message]).toEqual([
        "IMAGE_INVALID",
        expect.stringContaining("too many images"),
      ]);
    }
  });

  test("is refused with indexes that list each other so often that nobody could walk through them", async () => {
    let index = indexBlob(Array(900).fill(entry(raw.root)));
    const blobs = [index];
    for (let depth = 0; depth < 3; depth++) {
      index = indexBlob(Array(900).fill(entry(index)));
      blobs.push(index);
    }
    const error = await rejection(list({ ...layoutFiles([entry(index)]), ...raw.files, ...filesOf(blobs) }));
    expect([error.code, error.message]).toEqual([
      "IMAGE_INVALID",
      expect.stringContaining("too many images"),
    ]);
  });

  test("has an index and its image read once, however often they are listed", async () => {
    const nested = indexBlob(Array(100).fill(entry(raw.root)));
    const root = indexBlob([entry(nested), entry(nested)]);
    await using fixture = await openFixture(form, {
      ...layoutFiles(Array.from({ length: 100 }, () => entry(root))),
      ...raw.files,
      ...filesOf([nested, root]),
    });
    const opened: string[] = [];
    const open = (name: string) => {
      opened.push(name);
      return fixture.files.open(name);
    };
    const reader = contentReader({ ...fixture.files, open });
    const layout = await readOciLayout(fixture.files, reader);
    expect(layout?.candidates).toHaveLength(1);
    await layout?.candidates[0]?.read();
    expect(opened.length).toBeLessThan(20);
  });

  test("is refused with a nested index that does not have the digest of its name", async () => {
    const nested = indexBlob([entry(raw.root)]);
    const error = await rejection(
      list({
        ...layoutFiles([entry(nested, { mediaType: INDEX_TYPE })]),
        ...raw.files,
        [nested.path]: `${new TextDecoder().decode(nested.bytes)} `,
      }),
    );
    expect([error.code, error.message]).toEqual(["CONTENT_MISMATCH", expect.stringContaining(nested.path)]);
  });
});
