import { describe, expect, test } from "bun:test";
import { findLeftOut, readOciLayout } from "../../src/source/files/oci-layout.ts";
import { rejection } from "../support/rejection.ts";
import {
  blobOf,
  type FixtureBlob,
  type FixtureFiles,
  FORMS,
  filesOf,
  fixtureImage,
  hex,
  imageBlobs,
  layoutFiles,
  openFixture,
} from "./image-fixture.ts";

const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const ABSENT = `sha256:${"a".repeat(64)}`;

const image = fixtureImage(1, 2, 1);
const raw = imageBlobs(image);
const gzip = imageBlobs(image, (layer) => Bun.gzipSync(layer));
const zstd = imageBlobs(image, (layer) => Bun.zstdCompressSync(layer));

function entry({ digest, bytes }: FixtureBlob, more: object = {}) {
  return { mediaType: MANIFEST_TYPE, digest, size: bytes.length, ...more };
}

function manifestOf({ digest, bytes }: FixtureBlob) {
  return { digest, bytes };
}

function indexBlob(manifests: readonly unknown[]): FixtureBlob {
  return blobOf(JSON.stringify({ schemaVersion: 2, manifests }));
}

test("an index that lists another many times over is followed once", async () => {
  let index = indexBlob([{ digest: raw.manifest.digest }]);
  const blobs = [index];
  for (let depth = 0; depth < 3; depth++) {
    index = indexBlob(Array(10).fill(entry(index, { mediaType: INDEX_TYPE })));
    blobs.push(index);
  }
  await using fixture = await openFixture("folder", {
    ...layoutFiles([entry(index, { mediaType: INDEX_TYPE })]),
    ...raw.files,
    ...filesOf(blobs),
  });
  const [saved] = (await readOciLayout(fixture.files)) ?? [];
  if (saved === undefined) throw new Error("The image should be found.");
  const loaded = await saved.load();
  let opened = 0;
  const open = (name: string) => {
    opened++;
    return fixture.files.open(name);
  };
  // Of another platform, so that nothing ends the search.
  const other = { ...loaded, platform: "linux/other" };
  expect(await findLeftOut({ ...fixture.files, open }, other)).toBeUndefined();
  expect(opened).toBeLessThan(30);
});

describe.each(FORMS)("in a %s", (form) => {
  async function list(files: FixtureFiles) {
    await using fixture = await openFixture(form, files);
    return await Promise.all(
      ((await readOciLayout(fixture.files)) ?? []).map(async ({ names, describe, load }) => {
        const loaded = await load();
        expect(loaded.names).toEqual(names);
        return {
          ...loaded,
          describe,
          contents: await Promise.all(loaded.layers.map((layer) => layer.content.bytes())),
        };
      }),
    );
  }

  const kinds = [
    ["none", raw],
    ["gzip", gzip],
    ["zstd", zstd],
  ] as const;
  test.each(kinds)(
    "a folder with index.json and blobs/ alone; compression %s",
    async (compression, blobs) => {
      const { "oci-layout": _, ...files } = { ...layoutFiles([entry(blobs.manifest)]), ...blobs.files };
      const [loaded, ...others] = await list(files);
      expect(others).toEqual([]);
      expect(loaded?.names).toEqual([]);
      expect(loaded?.platform).toBe("linux/amd64");
      expect(String(loaded?.config.descriptor.digest)).toBe(blobs.config.digest);
      expect(loaded?.layers.map((layer) => layer.compression)).toEqual([
        compression,
        compression,
        compression,
      ]);
      expect(loaded?.layers.map((layer) => String(layer.diffId))).toEqual([...image.diffIds]);
      expect(loaded?.layers.map((layer) => String(layer.claimedDigest))).toEqual(
        blobs.layers.map(({ digest }) => digest),
      );
      expect(loaded?.contents.map(hex)).toEqual(blobs.layers.map(({ digest }) => digest.slice(7)));
    },
  );

  test("media types that lie do not matter, nor do wrong sizes", async () => {
    const config = blobOf(image.config);
    const manifest = blobOf(
      JSON.stringify({
        config: { mediaType: "text/plain", digest: config.digest, size: 1 },
        layers: gzip.layers.map(({ digest }) => ({
          mediaType: "application/vnd.oci.image.layer.v1.tar",
          digest,
          size: 0,
        })),
      }),
    );
    const [loaded] = await list({
      ...layoutFiles([entry(manifest, { size: 1 })]),
      ...gzip.files,
      ...filesOf([manifest]),
    });
    expect(loaded?.layers.map((layer) => layer.compression)).toEqual(["gzip", "gzip", "gzip"]);
    expect(loaded?.layers.map((layer) => layer.content.size)).toEqual(
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
  test.each(names)("annotations: %s", async (_, annotations, expected) => {
    const [loaded] = await list({ ...layoutFiles([entry(raw.manifest, { annotations })]), ...raw.files });
    expect(loaded?.names).toEqual(expected);
  });

  test.each([INDEX_TYPE, LIST_TYPE])(
    "a nested index: platforms that are not there and attestations are passed over; %s",
    async (mediaType) => {
      const attestation = blobOf("{}");
      const nested = indexBlob([
        entry(blobOf("absent"), { digest: ABSENT, platform: { os: "linux", architecture: "s390x" } }),
        entry(attestation, { platform: { os: "unknown", architecture: "unknown" } }),
        entry(gzip.manifest, { platform: { os: "linux", architecture: "amd64" } }),
      ]);
      const annotations = { "io.containerd.image.name": "docker.io/my/app:v1" };
      const found = await list({
        ...layoutFiles([entry(nested, { mediaType, annotations })]),
        ...gzip.files,
        ...filesOf([nested, attestation]),
      });
      expect(found.map((each) => each.names)).toEqual([["docker.io/my/app:v1"]]);
      expect(found[0]?.contents.map(hex)).toEqual(gzip.layers.map(({ digest }) => digest.slice(7)));
    },
  );

  test("two platforms are two images, told apart by what describes them", async () => {
    const arm = imageBlobs(fixtureImage(5));
    const nested = indexBlob([
      entry(raw.manifest, { platform: { os: "linux", architecture: "amd64" } }),
      entry(arm.manifest, { platform: { os: "linux", architecture: "arm64" } }),
    ]);
    const found = await list({
      ...layoutFiles([entry(nested, { mediaType: INDEX_TYPE })]),
      ...raw.files,
      ...arm.files,
      ...filesOf([nested]),
    });
    expect(found.map((each) => each.describe)).toEqual([
      `${raw.manifest.digest} linux/amd64`,
      `${arm.manifest.digest} linux/arm64`,
    ]);
  });

  test("engine 25.0: a manifest without layers, whose raw blobs are named by diffID", async () => {
    for (const layers of [{ layers: null }, { layers: [] }, {}]) {
      const manifest = blobOf(JSON.stringify({ config: { digest: raw.config.digest }, ...layers }));
      const [loaded] = await list({
        ...layoutFiles([entry(manifest)]),
        ...raw.files,
        ...filesOf([manifest]),
      });
      expect(loaded?.contents.map(hex)).toEqual(raw.layers.map(({ digest }) => digest.slice(7)));
    }
  });

  test("an image without layers", async () => {
    const blobs = imageBlobs(fixtureImage());
    const [loaded] = await list({ ...layoutFiles([entry(blobs.manifest)]), ...blobs.files });
    expect(loaded?.layers).toEqual([]);
  });

  const kept: [mediaType: string | undefined, isKept: boolean][] = [
    [MANIFEST_TYPE, true],
    ["application/vnd.docker.distribution.manifest.v2+json", true],
    // serverless-registry refuses a manifest without one.
    [undefined, false],
    // Its type becomes a header of the request: what is no manifest's type is not sent as one.
    ["text/html", false],
    [INDEX_TYPE, false],
    ["application/json\r\nx-evil: 1", false],
  ];
  test.each(kept)("the image's own manifest, of type %j: to be kept, %p", async (mediaType, isKept) => {
    const layers = gzip.layers.map(({ digest, bytes }) => ({ digest, size: bytes.length }));
    const config = { digest: gzip.config.digest, size: gzip.config.bytes.length };
    const manifest = blobOf(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }));
    const [loaded] = await list({
      ...layoutFiles([entry(manifest)]),
      ...gzip.files,
      ...filesOf([manifest]),
    });
    const type = isKept ? mediaType : undefined;
    expect(loaded?.manifest as unknown).toEqual({
      ...manifestOf(manifest),
      mediaType: type,
      config,
      layers,
    });
  });

  test("nothing where there is no index.json", async () => {
    await using fixture = await openFixture(form, { "oci-layout": "{}" });
    expect(await readOciLayout(fixture.files)).toBeUndefined();
  });

  test("indexes in indexes are followed, but not without end", async () => {
    const nest = (depth: number) => {
      const blobs = [raw.manifest];
      for (let i = 0; i < depth; i++) {
        const [inner = raw.manifest] = blobs;
        blobs.unshift(indexBlob([i === 0 ? entry(inner) : entry(inner, { mediaType: INDEX_TYPE })]));
      }
      const [outermost = raw.manifest] = blobs;
      return {
        ...layoutFiles([entry(outermost, { mediaType: INDEX_TYPE })]),
        ...raw.files,
        ...filesOf(blobs),
      };
    };
    expect(await list(nest(2))).toHaveLength(1);
    const error = await rejection(list(nest(100)));
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringContaining("too deep")]);
  });

  test("indexes that list each other come to an end", async () => {
    // A digest that an index would have to know before it is written: only a forged name makes a circle.
    const path = `blobs/sha256/${ABSENT.slice(7)}`;
    const entryToItself = { mediaType: INDEX_TYPE, digest: ABSENT };
    const error = await rejection(
      list({ ...layoutFiles([entryToItself]), [path]: JSON.stringify({ manifests: [entryToItself] }) }),
    );
    expect(["IMAGE_INVALID", "CONTENT_MISMATCH"]).toContain(error.code);
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
    [`{"manifests":[{"digest":"latest"}]}`, "DIGEST_INVALID", "latest"],
    [`{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}`, "DIGEST_INVALID", "etc/passwd"],
    [`{"manifests":[{"digest":"sha512:${"0".repeat(128)}"}]}`, "DIGEST_INVALID", "sha512"],
  ];
  test.each(indexes)("refuses the index %j, naming file and field", async (index, code, field) => {
    const error = await rejection(list({ "index.json": index }));
    expect(error.code as string).toBe(code);
    expect(error.message).toContain(`"index.json"`);
    expect(error.message).toContain(field);
  });

  const manifests: [manifest: object, code: string, field: string][] = [
    [{}, "IMAGE_INVALID", "config:"],
    [{ config: {} }, "IMAGE_INVALID", "config.digest:"],
    [{ config: { digest: "x" } }, "DIGEST_INVALID", "config.digest"],
    [{ config: { digest: raw.config.digest }, layers: {} }, "IMAGE_INVALID", "layers:"],
    [{ config: { digest: raw.config.digest }, layers: [{ size: 1 }] }, "IMAGE_INVALID", "layers.0.digest:"],
    [{ config: { digest: raw.config.digest }, layers: [{ digest: "../x" }] }, "DIGEST_INVALID", "../x"],
    [
      { config: { digest: raw.config.digest }, layers: [{ digest: raw.layers[0]?.digest }] },
      "IMAGE_INVALID",
      "lists 1 layers",
    ],
    [{ config: { digest: ABSENT } }, "IMAGE_INVALID", "lacks"],
    [
      { config: { digest: raw.config.digest }, layers: Array(3).fill({ digest: ABSENT }) },
      "IMAGE_INVALID",
      ABSENT.slice(7),
    ],
  ];
  test.each(manifests)("refuses the manifest %j, naming file and field", async (content, code, field) => {
    const manifest = blobOf(JSON.stringify(content));
    const error = await rejection(
      list({ ...layoutFiles([entry(manifest)]), ...raw.files, ...filesOf([manifest]) }),
    );
    expect(error.code as string).toBe(code);
    expect(error.message).toContain("blobs/sha256/");
    expect(error.message).toContain(field);
  });

  test("refuses a config that does not have the digest of its name", async () => {
    const error = await rejection(
      list({ ...layoutFiles([entry(raw.manifest)]), ...raw.files, [raw.config.path]: `${image.config}\n` }),
    );
    expect([error.code, error.message]).toEqual([
      "CONTENT_MISMATCH",
      expect.stringContaining(raw.config.path),
    ]);
  });

  test("refuses a manifest that does not have the digest of its name", async () => {
    const other = `${new TextDecoder().decode(raw.manifest.bytes)} `;
    const error = await rejection(
      list({ ...layoutFiles([entry(raw.manifest)]), ...raw.files, [raw.manifest.path]: other }),
    );
    expect([error.code, error.message]).toEqual([
      "CONTENT_MISMATCH",
      expect.stringContaining(raw.manifest.path),
    ]);
  });

  test("does not go through indexes that list more than any image has", async () => {
    const traps = Array.from({ length: 1200 }, (_, i) =>
      indexBlob([{ digest: ABSENT, annotations: { i: `${i}` } }]),
    );
    const error = await rejection(
      list({
        ...layoutFiles(traps.map((trap) => entry(trap, { mediaType: INDEX_TYPE }))),
        ...filesOf(traps),
      }),
    );
    expect([error.code, error.message]).toEqual(["IMAGE_INVALID", expect.stringContaining("too much")]);
  });

  test("reads an index that is listed a hundred times once", async () => {
    const nested = indexBlob([entry(raw.manifest)]);
    const found = await list({
      ...layoutFiles(Array.from({ length: 100 }, () => entry(nested, { mediaType: INDEX_TYPE }))),
      ...raw.files,
      ...filesOf([nested]),
    });
    expect(found).toHaveLength(1);
  });

  test("refuses a nested index that does not have the digest of its name", async () => {
    const nested = indexBlob([entry(raw.manifest)]);
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
