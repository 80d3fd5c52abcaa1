/** What engines save, read once as it comes: layers are told by what the archive says, and nobody has to believe it. */
import { describe, expect, test } from "bun:test";
import { blobPath, type DiffId, digestOf, hexOf, parseDiffId, parseDigest } from "../../src/oci/digest.ts";
import type { ImageConfig } from "../../src/oci/image.ts";
import type { InspectedImage, ResolvedImage } from "../../src/source/resolve-image.ts";
import { readSavedStream, type SavedPart } from "../../src/source/stream/saved-stream.ts";
import { piecesOf } from "../support/pieces.ts";
import { rejection } from "../support/rejection.ts";
import {
  archiveBytes,
  blobOf,
  classicFiles,
  type FixtureBlob,
  type FixtureFiles,
  type FixtureImage,
  filesOf,
  fixtureImage,
  hex,
  imageBlobs,
  layoutFiles,
  podmanFiles,
} from "./image-fixture.ts";

const TITLE = 'archive that docker saved of "my/app"';

/** Three layers, of which the first and the last are equal. */
const image = fixtureImage(1, 2, 1);
const distinct = fixtureImage(1, 2, 3);

type Seen = { readonly path: string; readonly claimed: string | undefined; readonly digest: string };

/** What the parts of an archive tell of the image, by its digests or by its manifest. */
type Told = { readonly config: ImageConfig; readonly layerPaths: readonly string[] };

type Outcome = Told & { readonly layers: readonly Seen[] };

function diffIdsOf({ diffIds }: FixtureImage): DiffId[] {
  return diffIds.map((text) => parseDiffId(text, "a test"));
}

/** An image of which the engine's ID tells nothing, unless it is the digest of a document in the archive. */
function inspected(of: FixtureImage, id = `sha256:${hex("an ID that leads nowhere")}`): InspectedImage {
  return { id: parseDigest(id, "a test"), diffIds: diffIdsOf(of), platform: "linux/amd64" };
}

/** The config and the paths of the layers, which the image's or the manifest's part tells. Each comes once at most. */
function toldBy(parts: readonly SavedPart[]): Told {
  const [told, ...others] = parts.flatMap((part): Told[] => {
    if (part.kind === "manifest") return [part];
    if (part.kind === "layer") return [];
    const { config, layers = [] } = part.image;
    return [{ config, layerPaths: layers.map(({ digest }) => blobPath(digest)) }];
  });
  expect(others).toEqual([]);
  if (told === undefined) throw new Error("Nothing tells which image it is.");
  return told;
}

/** Reads an archive, and each layer of it. */
async function readStream(files: FixtureFiles, of = image, pieceBytes = 1000): Promise<Outcome> {
  const layers: Seen[] = [];
  const parts: SavedPart[] = [];
  for await (const part of readSavedStream(piecesOf(archiveBytes(files), pieceBytes), TITLE, inspected(of))) {
    parts.push(part);
    if (part.kind !== "layer") continue;
    const { path, claimedDiffId, sizeBytes, bytes } = part;
    const content = new Uint8Array(Buffer.concat(await Array.fromAsync(bytes)));
    expect(content.length).toBe(sizeBytes);
    layers.push({ path, claimed: claimedDiffId, digest: digestOf(content) });
  }
  return { ...toldBy(parts), layers };
}

function expectConfig({ config, layerPaths }: Told, of = image): void {
  expect(config.blob.descriptor.digest as string).toBe(`sha256:${of.configHex}`);
  expect(config.diffIds.map(String)).toEqual([...of.diffIds]);
  expect(layerPaths).toHaveLength(of.diffIds.length);
}

/** The documents of layers as engines up to 24 write them, and the IDs that follow from them. */
function legacyDocuments(of: FixtureImage): { id: string; document: Record<string, unknown> }[] {
  const documents: { id: string; document: Record<string, unknown> }[] = [];
  let chainId = "";
  for (const [i, diffId] of of.diffIds.entries()) {
    chainId = i === 0 ? diffId : `sha256:${hex(`${chainId} ${diffId}`)}`;
    const parent = documents.at(-1)?.id;
    const isTop = i === of.diffIds.length - 1;
    const settings = { container_config: { Hostname: "", Cmd: isTop ? ["a < b & c > d"] : null } };
    const created = "1970-01-01T00:00:00Z";
    const hashed = {
      container_config: settings.container_config,
      created,
      layer_id: chainId,
      ...(isTop && { os: "linux" }),
      ...(parent && { parent: `sha256:${parent}` }),
    };
    const go = JSON.stringify(hashed)
      .replace(/</g, "\\u003c")
      .replace(/>/g, "\\u003e")
      .replace(/&/g, "\\u0026");
    const id = hex(go);
    documents.push({ id, document: { id, ...(parent && { parent }), created, ...settings, os: "linux" } });
  }
  return documents;
}

/** A classic archive with its layers in the given order: 0 is the base. */
function legacyFiles(order: readonly number[], of = distinct): FixtureFiles {
  const documents = legacyDocuments(of);
  const ids = documents.map(({ id }) => id);
  const entries = order.flatMap((i): [string, string | Uint8Array][] => [
    [`${ids[i]}/VERSION`, "1.0"],
    [`${ids[i]}/json`, JSON.stringify(documents[i]?.document)],
    [`${ids[i]}/layer.tar`, of.layers[i] ?? ""],
  ]);
  const manifest = [
    { Config: `${of.configHex}.json`, RepoTags: null, Layers: ids.map((id) => `${id}/layer.tar`) },
  ];
  return {
    ...Object.fromEntries(entries),
    [`${of.configHex}.json`]: of.config,
    "manifest.json": JSON.stringify(manifest),
  };
}

describe("an engine up to 24", () => {
  test("saves links in place of equal layers, which are handed over once", async () => {
    const outcome = await readStream(classicFiles(image, null));
    expectConfig(outcome);
    expect(outcome.layers.map(({ digest }) => digest)).toEqual(image.diffIds.slice(0, 2));
  });

  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  test.each(orders.map((order) => ({ order })))(
    "tells of each layer which it is, with layers in the order $order",
    async ({ order }) => {
      const outcome = await readStream(legacyFiles(order), distinct);
      expectConfig(outcome, distinct);
      expect(outcome.layers.map(({ digest }) => digest)).toEqual(order.map((i) => distinct.diffIds[i] ?? ""));
      // Each has its own document before it, whose digest proves what it is.
      for (const { claimed, digest } of outcome.layers) expect(claimed).toBe(digest);
    },
  );

  test.each<[string, (id: string, i: number) => unknown]>([
    ["the layer itself", (id) => ({ parent: id })],
    ["a layer that is not there", () => ({ parent: "f".repeat(64) })],
    ["no legal name", () => ({ parent: "../../x" })],
  ])("claims nothing where a layer's parent is %s, and hands over all layers", async (_, document) => {
    const files = { ...legacyFiles([0, 1, 2]) };
    for (const i of [0, 1, 2]) {
      const { id = "" } = legacyDocuments(distinct)[i] ?? {};
      files[`${id}/json`] = JSON.stringify(document(id, i));
    }
    const { layers } = await readStream(files, distinct);
    expect(layers.map(({ claimed }) => claimed)).toEqual([undefined, undefined, undefined]);
    expect(layers.map(({ digest }) => digest)).toEqual([...distinct.diffIds]);
  });

  test("claims nothing for layers that are none of the image's", async () => {
    const more = fixtureImage(1, 2, 3, 4, 5);
    const stranger = legacyFiles([0, 1, 2, 3, 4], more);
    const { layers } = await readStream({ ...stranger, ...legacyFiles([0, 1, 2]) }, distinct);
    const claims = layers.map(({ claimed, digest }) => claimed === undefined || claimed === digest);
    expect(claims).toEqual(layers.map(() => true));
    expect(layers.filter(({ claimed }) => claimed === undefined)).toHaveLength(2);
  });

  test.each(["[]", "null", '"text"', '{"parent":7}', "{"])(
    "is refused where a layer's own document is %s",
    async (text) => {
      const middle = legacyDocuments(distinct)[1]?.id ?? "";
      const files = { ...legacyFiles([0, 1, 2]), [`${middle}/json`]: text };
      const error = await rejection(readStream(files, distinct));
      expect(error.code).toBe("IMAGE_INVALID");
      expect(error.message).toContain(middle);
    },
  );
});

test("Podman names layers by their diffIDs", async () => {
  const outcome = await readStream(podmanFiles(image, ["my/app:v1"]));
  expectConfig(outcome);
  for (const { claimed, digest } of outcome.layers) expect(claimed).toBe(digest);
  expect(outcome.layers.map(({ digest }) => digest)).toEqual(image.diffIds.slice(0, 2));
});

/** What an engine from 25 on writes; with a containerd store, layers are packed. */
function blobFiles(of: FixtureImage, pack?: (layer: Uint8Array<ArrayBuffer>) => Uint8Array): FixtureFiles {
  const blobs = imageBlobs(of, pack);
  const manifest = [
    { Config: blobs.config.path, RepoTags: null, Layers: blobs.layers.map(({ path }) => path) },
  ];
  return {
    ...blobs.files,
    ...layoutFiles([{ digest: blobs.manifest.digest }]),
    "manifest.json": JSON.stringify(manifest),
  };
}

describe("an engine from 25 on", () => {
  test("names layers by their diffIDs, however small they are", async () => {
    const outcome = await readStream(blobFiles(image));
    expectConfig(outcome);
    for (const { claimed, digest } of outcome.layers) expect(claimed).toBe(digest);
    expect(outcome.layers.map(({ digest }) => digest)).toEqual(image.diffIds.slice(0, 2));
  });

  const packers = { gzip: Bun.gzipSync, zstd: Bun.zstdCompressSync } as const;
  for (const [name, pack] of Object.entries(packers)) {
    test(`with a containerd store hands over small ${name} layers as layers, and documents as none`, async () => {
      const packed = imageBlobs(distinct, pack).layers;
      const outcome = await readStream(blobFiles(distinct, pack), distinct);
      expectConfig(outcome, distinct);
      expect(outcome.layers.map(({ path }) => path).sort()).toEqual(packed.map(({ path }) => path).sort());
      expect(outcome.layers.map(({ digest }) => digest).sort()).toEqual(
        packed.map(({ digest }) => digest).sort(),
      );
      expect(outcome.layers.map(({ claimed }) => claimed)).toEqual([undefined, undefined, undefined]);
    });
  }

  test("with a containerd store hands over as many packed layers as there are, large and small", async () => {
    // Together more than may be kept in memory.
    const sizes = [5_000_000, ...Array.from({ length: 17 }, () => 4_000_000)];
    const layers = sizes.map((size, i) => new Uint8Array(size).fill(i));
    const big = { ...fixtureImage(), layers, diffIds: layers.map(digestOf) };
    const config = JSON.stringify({ rootfs: { diff_ids: big.diffIds } });
    // How packed layers begin is all that is looked at.
    const pack = (layer: Uint8Array<ArrayBuffer>) =>
      Uint8Array.from(Buffer.concat([new Uint8Array([0x1f, 0x8b]), layer]));
    const whole = { ...big, config, configHex: hex(config) };
    const outcome = await readStream(blobFiles(whole, pack), whole, 1_000_000);
    expect(outcome.layers).toHaveLength(sizes.length);
    expectConfig(outcome, whole);
  }, 30_000);

  test("hands over a small raw layer once that only the manifest tells from a document", async () => {
    const path = "layers/one";
    const [raw = new Uint8Array()] = image.layers;
    const config = JSON.stringify({ rootfs: { diff_ids: [digestOf(raw), digestOf(raw)] } });
    const { layers } = await readStream({
      [path]: raw,
      "c.json": config,
      "manifest.json": JSON.stringify([{ Config: "c.json", Layers: [path, path] }]),
    });
    expect(layers).toEqual([{ path, claimed: undefined, digest: digestOf(raw) }]);
  });
});

describe("the reader of a save", () => {
  const good = blobFiles(distinct);
  const without = (path: string) =>
    Object.fromEntries(Object.entries(good).filter(([name]) => name !== path));
  const configPath = blobOf(distinct.config).path;
  const manifest = (content: unknown) => ({ ...good, "manifest.json": JSON.stringify(content) });
  const Layers = imageBlobs(distinct).layers.map(({ path }) => path);
  const cases: [what: string, files: FixtureFiles, code: string, message: string][] = [
    ["an archive without a manifest", without("manifest.json"), "ARCHIVE_INVALID", 'has no "manifest.json"'],
    ["an archive without the config", without(configPath), "ARCHIVE_INVALID", `lacks "${configPath}"`],
    ["a manifest of no image", manifest([]), "IMAGE_INVALID", "manifest.json"],
    [
      "a manifest of two",
      manifest([1, 2].map(() => ({ Config: configPath, Layers }))),
      "IMAGE_INVALID",
      "manifest.json",
    ],
    ["a manifest that is none", manifest({ Config: 7 }), "IMAGE_INVALID", "manifest.json"],
    [
      "fewer layers than the config has",
      manifest([{ Config: configPath, Layers: Layers.slice(1) }]),
      "IMAGE_INVALID",
      "2 layers",
    ],
    [
      "no layers where the config has some",
      manifest([{ Config: configPath, Layers: null }]),
      "IMAGE_INVALID",
      "0 layers",
    ],
    ["a config that is none", { ...good, [configPath]: "{" }, "IMAGE_INVALID", configPath],
    [
      "a manifest that is too large for one",
      { ...good, "manifest.json": `[${" ".repeat(4 * 1024 * 1024)}]` },
      "ARCHIVE_INVALID",
      'has no "manifest.json"',
    ],
    [
      "documents that fill memory",
      {
        ...Object.fromEntries(
          Array.from({ length: 17 }, (_, i) => [`${i}.json`, new Uint8Array(4 * 1024 * 1024)]),
        ),
        ...good,
      },
      "ARCHIVE_INVALID",
      "too much beside its layers",
    ],
  ];
  test("a document that is nested deeper than it could be written again tells nothing of a layer", async () => {
    const deep = `{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
    const outcome = await readStream({ [`${"0".repeat(64)}/json`]: deep, ...good }, distinct);
    expectConfig(outcome, distinct);
  });

  test.each(cases)("refuses %s", async (_, files, code, message) => {
    const error = await rejection(readStream(files, distinct));
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
    expect(error.message).toContain(TITLE);
  });

  test("passes in silence over a layer that is not there, for its caller to miss", async () => {
    const [layer = "x"] = Layers;
    const { layers } = await readStream(without(layer), distinct);
    expect(layers.map(({ path }) => path)).not.toContain(layer);
    expect(layers).toHaveLength(2);
  });
});

describe("a caller", () => {
  /** An archive that notes whether it was ended, and how many of its pieces were taken. */
  function watched(files: FixtureFiles) {
    const seen = { pieces: 0, isEnded: false };
    async function* pieces() {
      try {
        for await (const piece of piecesOf(archiveBytes(files), 512)) {
          seen.pieces++;
          yield piece;
        }
      } finally {
        seen.isEnded = true;
      }
    }
    return { seen, parts: readSavedStream(pieces(), TITLE, inspected(image)) };
  }

  const files = blobFiles(image);
  const allPieces = Math.ceil(archiveBytes(files).length / 512);

  test("that throws at a layer ends the archive, and gets its own error", async () => {
    const { seen, parts } = watched(files);
    const failure = new Error("the disk is full");
    const reading = (async () => {
      for await (const { kind } of parts) if (kind === "layer") throw failure;
    })();
    expect(await reading.then(String, (error: unknown) => error)).toBe(failure);
    expect(seen.isEnded).toBe(true);
    expect(seen.pieces).toBeLessThan(allPieces);
  });

  test("that stops in the middle of a layer ends the archive", async () => {
    const { seen, parts } = watched(files);
    for await (const part of parts) {
      if (part.kind !== "layer") continue;
      for await (const _ of part.bytes) break;
      break;
    }
    expect(seen.isEnded).toBe(true);
    expect(seen.pieces).toBeLessThan(allPieces);
  });

  test("may leave layers alone, and still learns the config", async () => {
    const archive = piecesOf(archiveBytes(classicFiles(image, null)), 777);
    const parts = await Array.fromAsync(readSavedStream(archive, TITLE, inspected(image)));
    const told = toldBy(parts);
    expectConfig(told);
    expect(parts.filter(({ kind }) => kind === "layer")).toHaveLength(2);
    expect(told.config.diffIds.map(hexOf)).toEqual(image.diffIds.map((diffId) => diffId.slice(7)));
  });
});

describe("an image whose ID is the digest of a document", () => {
  const packed = imageBlobs(distinct, Bun.gzipSync);
  const index = blobOf(
    JSON.stringify({
      manifests: [
        { digest: packed.manifest.digest, platform: { os: "linux", architecture: "amd64" } },
        { digest: blobOf("an attestation").digest, platform: { os: "unknown", architecture: "unknown" } },
      ],
    }),
  );
  const ids = {
    "an index": index.digest,
    "a manifest": packed.manifest.digest,
  } as const;

  /** Reads an archive with members in the given order, and stops when `wanted` layers and the image have come. */
  async function readUntil(id: string, blobs: readonly FixtureBlob[], wanted: number) {
    const seen: string[] = [];
    const found: ResolvedImage[] = [];
    const parts: SavedPart[] = [];
    const files = { ...filesOf(blobs), "manifest.json": "not reached" };
    const archive = piecesOf(archiveBytes(files), 512);
    for await (const part of readSavedStream(archive, TITLE, inspected(distinct, id))) {
      parts.push(part);
      if (part.kind === "layer") seen.push(`${part.path} ${part.claimedDiffId}`);
      if (part.kind === "image") found.push(part.image);
      if (found.length > 0 && seen.length >= wanted) break;
    }
    return { parts: toldBy(parts), seen, found };
  }

  const documents = [index, packed.manifest, packed.config];
  const [first, second, third] = packed.layers as [FixtureBlob, FixtureBlob, FixtureBlob];

  for (const [what, id] of Object.entries(ids)) {
    test(`such as ${what} tells by their digests which layers come after the documents`, async () => {
      const { parts, seen } = await readUntil(id, [...documents, second, first, third], 3);
      expectConfig(parts, distinct);
      expect(parts.layerPaths).toEqual(packed.layers.map(({ path }) => path));
      expect(seen).toEqual(
        [second, first, third].map(
          ({ path }) => `${path} ${distinct.diffIds[packed.layers.findIndex((each) => each.path === path)]}`,
        ),
      );
    });

    test(`such as ${what} lets a caller stop once it has the layers and documents that it wants`, async () => {
      // Otherwise the manifest.json of this archive would be read, which is none.
      const { parts, seen } = await readUntil(id, [first, ...documents, second, third], 1);
      expectConfig(parts, distinct);
      expect(seen).toEqual([`${first.path} undefined`]);
    });
  }

  test("such as an index tells what the index lists beside the image", async () => {
    const { found } = await readUntil(index.digest, [...documents, ...packed.layers], 3);
    expect(found.map(({ leftOut }) => leftOut)).toEqual([{ platforms: [], attestations: 1 }]);
  });

  test("such as the config, in classic stores, has raw layers that are told by their diffIDs", async () => {
    const raw = imageBlobs(distinct);
    const { parts, seen } = await readUntil(raw.config.digest, [raw.config, ...raw.layers], 2);
    expect(parts.config.diffIds.map(String)).toEqual([...distinct.diffIds]);
    expect(seen).toEqual(raw.layers.slice(0, 2).map(({ path }, i) => `${path} ${distinct.diffIds[i]}`));
  });

  test.each(["index", "manifest", "config"] as const)("is refused where the %s is damaged", async (which) => {
    const damaged = { ...{ index, ...packed }[which], bytes: new TextEncoder().encode("{}") };
    const blobs = documents.map((each) => (each.path === damaged.path ? damaged : each));
    const error = await rejection(readUntil(index.digest, blobs, 3));
    expect(error.code).toBe("CONTENT_MISMATCH");
    expect(error.message).toContain(damaged.path);
  });
});
