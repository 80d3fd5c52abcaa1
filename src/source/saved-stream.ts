import * as v from "valibot";
import { type DiffId, hexOf } from "../oci/digest.ts";
import { assertLayerCount, compressionOf, type ImageConfig, parseImageConfig } from "../oci/image.ts";
import { parseJson } from "../oci/json.ts";
import { object } from "../oci/json-schema.ts";
import { chainIdsOf, legacyPlace } from "./legacy-layers.ts";
import { invalid } from "./tar-entries.ts";
import { readTarStream, type StreamedFile } from "./tar-stream.ts";

/** A layer on its way out of an engine. */
export type SavedLayer = {
  /** Its name in the archive. */
  readonly path: string;
  /** Which layer it is, as the archive has it: to be checked. Undefined: that is known when it was read. */
  readonly claimedDiffId: DiffId | undefined;
  readonly sizeBytes: number;
  /** To be read before the next layer comes, or left alone: then it is passed over. */
  readonly bytes: StreamedFile["bytes"];
};

/** What an archive says of an image, known when it has come to its end. */
export type SavedParts = {
  readonly config: ImageConfig;
  /** Base first, as the diffIDs of the config. */
  readonly layerPaths: readonly string[];
};

const MANIFEST = v.pipe(
  v.array(
    object({
      Config: v.pipe(v.string(), v.nonEmpty("it is empty")),
      Layers: v.nullish(v.array(v.string())),
    }),
  ),
  v.length(1, "it should list one image"),
);

/** Larger members are layers, whatever their names. */
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;
/** All that is kept in memory. */
const MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024;

/**
 * Reads what `docker save` writes as it comes, once, and without keeping it: layers are handed over in the archive's
 * order, which need not be the image's. Throws `ARCHIVE_INVALID`, `IMAGE_INVALID`, and what `onLayer` throws.
 *
 * @param diffIds those of the image, base first
 */
export async function readSavedStream(
  archive: StreamedFile["bytes"],
  title: string,
  diffIds: readonly DiffId[],
  onLayer: (layer: SavedLayer) => Promise<void>,
): Promise<SavedParts> {
  const documents = new Map<string, Uint8Array<ArrayBuffer>>();
  let documentBytes = 0;
  const chainIds = chainIdsOf(diffIds);
  const places = new Map<string, number>();
  const claim = (path: string): DiffId | undefined => {
    const [, legacyId = ""] = /^([0-9a-f]{64})\/layer\.tar$/.exec(path) ?? [];
    const place = places.get(legacyId);
    if (place !== undefined) return diffIds[place];
    // Engine 25 and Podman name a layer by its diffID.
    return diffIds.find((diffId) => path.includes(hexOf(diffId)));
  };
  const handOver = (path: string, sizeBytes: number, bytes: StreamedFile["bytes"]) =>
    onLayer({ path, claimedDiffId: claim(path), sizeBytes, bytes });

  for await (const { path, sizeBytes, bytes: content } of readTarStream(archive, title)) {
    if (path.endsWith(".tar") || sizeBytes > MAX_DOCUMENT_BYTES || claim(path) !== undefined) {
      await handOver(path, sizeBytes, content);
      continue;
    }
    const bytes = new Uint8Array(Buffer.concat(await Array.fromAsync(content)));
    // A containerd store names layers by what they are compressed: nothing else tells small ones from documents.
    if (compressionOf(bytes) !== "none") {
      await handOver(path, sizeBytes, piecesOf(bytes));
      continue;
    }
    documentBytes += sizeBytes;
    if (documentBytes > MAX_DOCUMENTS_BYTES) throw invalid(title, "it holds too much beside its layers");
    documents.set(path, bytes);
    const [, legacyId] = /^([0-9a-f]{64})\/json$/.exec(path) ?? [];
    if (legacyId === undefined) continue;
    const place = legacyPlace(legacyId, bytes, chainIds, `"${path}" in the ${title}`);
    if (place !== undefined) places.set(legacyId, place);
  }

  const manifestBytes = documents.get("manifest.json");
  if (manifestBytes === undefined) throw invalid(title, 'it has no "manifest.json"');
  const [image] = parseJson(manifestBytes, MANIFEST, `"manifest.json" in the ${title}`);
  const { Config: configPath = "", Layers: layerPaths } = image ?? {};
  const configBytes = documents.get(configPath);
  if (configBytes === undefined) throw invalid(title, `it lacks "${configPath}"`);
  const config = parseImageConfig(configBytes, `"${configPath}" in the ${title}`);
  assertLayerCount(config.diffIds, layerPaths ?? [], `"manifest.json" in the ${title}`);
  // Small layers may look like any other document.
  for (const path of new Set(layerPaths)) {
    const bytes = documents.get(path);
    if (bytes !== undefined) await handOver(path, bytes.length, piecesOf(bytes));
  }
  return { config, layerPaths: layerPaths ?? [] };
}

async function* piecesOf(bytes: Uint8Array<ArrayBuffer>) {
  yield bytes;
}
