/** What engines save, read once as it comes: layers are told by what the archive says, and nobody has to believe it. */
import { describe, expect, test } from "bun:test";
import { type DiffId, digestOf, parseDiffId, parseDigest } from "../../src/oci/digest.ts";
import type { ImageConfig } from "../../src/oci/image.ts";
import type { InspectedImage } from "../../src/source/engine/inspect.ts";
import { readSavedStream, type SavedPart } from "../../src/source/stream/saved-stream.ts";
import { blobOf, type FixtureImage, fixtureImage, hex, untypedManifest } from "../support/image-fixture.ts";
import {
  archiveBytes,
  classicFiles,
  type FixtureFiles,
  layoutFiles,
  podmanFiles,
} from "../support/image-forms.ts";
import { piecesOf } from "../support/pieces.ts";
import { rejection } from "../support/rejection.ts";

const TITLE = 'archive that docker saved of "my/app"';

/** Three layers, of which the first and the last are equal. */
const image = fixtureImage(1, 2, 1);
const distinct = fixtureImage(1, 2, 3);

type Seen = { readonly path: string; readonly claimed: string | undefined; readonly digest: string };

type Outcome = { readonly config: ImageConfig; readonly layers: readonly Seen[] };

function diffIdsOf({ diffIds }: FixtureImage): DiffId[] {
  return diffIds.map((text) => parseDiffId(text, "a test"));
}

/** An image whose ID is the digest of its config, as classic stores have it. */
function inspected(of: FixtureImage): InspectedImage {
  const id = parseDigest(`sha256:${of.configHex}`, "a test");
  return { id, diffIds: diffIdsOf(of), platform: "linux/amd64" };
}

/** The config, which comes once. */
function configOf(parts: readonly SavedPart[]): ImageConfig {
  const [config, ...others] = parts.flatMap((part) => (part.kind === "config" ? [part.config] : []));
  expect(others).toEqual([]);
  if (config === undefined) throw new Error("The archive has no config.");
  return config;
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
  return { config: configOf(parts), layers };
}

function expectConfig(config: ImageConfig, of = image): void {
  expect(config.blob.descriptor.digest as string).toBe(`sha256:${of.configHex}`);
  expect(config.diffIds.map(String)).toEqual([...of.diffIds]);
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
    expectConfig(outcome.config);
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
      expectConfig(outcome.config, distinct);
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
  expectConfig(outcome.config);
  for (const { claimed, digest } of outcome.layers) expect(claimed).toBe(digest);
  expect(outcome.layers.map(({ digest }) => digest)).toEqual(image.diffIds.slice(0, 2));
});

/** What the classic store of an engine from 25 on writes. */
function blobFiles(of: FixtureImage): FixtureFiles {
  const blobs = untypedManifest(of);
  const manifest = [
    { Config: blobs.config.path, RepoTags: null, Layers: blobs.layers.map(({ path }) => path) },
  ];
  return {
    ...blobs.files,
    ...layoutFiles([{ digest: blobs.root.digest }]),
    "manifest.json": JSON.stringify(manifest),
  };
}

describe("an engine from 25 on", () => {
  test("names layers by their diffIDs, however small they are", async () => {
    const outcome = await readStream(blobFiles(image));
    expectConfig(outcome.config);
    for (const { claimed, digest } of outcome.layers) expect(claimed).toBe(digest);
    expect(outcome.layers.map(({ digest }) => digest)).toEqual(image.diffIds.slice(0, 2));
  });

  test("leaves what is neither a layer of the image nor its config", async () => {
    const { layers } = await readStream({ ...blobFiles(fixtureImage(8)), ...blobFiles(image) });
    expect(layers.map(({ digest }) => digest)).toEqual(image.diffIds.slice(0, 2));
  });
});

describe("the reader of a save", () => {
  const good = blobFiles(distinct);
  const without = (path: string) =>
    Object.fromEntries(Object.entries(good).filter(([name]) => name !== path));
  const configPath = blobOf(distinct.config).path;
  const Layers = untypedManifest(distinct).layers.map(({ path }) => path);
  const cases: [what: string, files: FixtureFiles, code: string, message: string][] = [
    ["a damaged config", { ...good, [configPath]: `${distinct.config} ` }, "CONTENT_MISMATCH", configPath],
    ["a config that is none", { ...good, [configPath]: "{" }, "CONTENT_MISMATCH", configPath],
    [
      "documents that fill memory",
      {
        ...Object.fromEntries(
          Array.from({ length: 17 }, (_, i) => [`${i}.json`, new Uint8Array(4 * 1024 * 1024)]),
        ),
        ...good,
      },
      "ARCHIVE_INVALID",
      "besides the layers are too large",
    ],
  ];
  test("learns nothing of a layer from a document that is nested deeper than it could be written again", async () => {
    const deep = `{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
    const outcome = await readStream({ [`${"0".repeat(64)}/json`]: deep, ...good }, distinct);
    expectConfig(outcome.config, distinct);
  });

  test.each(cases)("refuses %s", async (_, files, code, message) => {
    const error = await rejection(readStream(files, distinct));
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
    expect(error.message).toContain(TITLE);
  });

  test("reports no missing layer, which its caller notices", async () => {
    const [layer = "x"] = Layers;
    const { layers } = await readStream(without(layer), distinct);
    expect(layers.map(({ path }) => path)).not.toContain(layer);
    expect(layers).toHaveLength(2);
  });
});

test("The reader of a save reports no missing config, which its caller notices", async () => {
  const { [blobOf(image.config).path]: _, ...files } = blobFiles(image);
  const archive = piecesOf(archiveBytes(files), 1000);
  const parts = await Array.fromAsync(readSavedStream(archive, TITLE, inspected(image)));
  expect(parts.map(({ kind }) => kind)).toEqual(["layer", "layer"]);
});

describe("a caller of the reader of a save", () => {
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
    expectConfig(configOf(parts));
    expect(parts.filter(({ kind }) => kind === "layer")).toHaveLength(2);
  });
});
