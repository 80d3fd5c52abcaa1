import { blobPath, chainIdsOf, type DiffId, digestOf, hexOf } from "../../oci/digest.ts";
import { type ImageConfig, parseImageConfig } from "../../oci/image.ts";
import { MAX_JSON_BYTES } from "../../oci/json-schema.ts";
import type { InspectedImage } from "../engine/inspect.ts";
import { misnamed } from "../files/image-files.ts";
import { invalid } from "../tar/entries.ts";
import { readTarStream, type StreamedFile } from "../tar/stream.ts";
import { legacyPlace, MAX_LEGACY_LAYERS } from "./legacy-layers.ts";

/** A layer of a saved archive. */
export type SavedLayer = StreamedFile & {
  /** The layer's diffID according to its name, unverified. Undefined if only its content tells. */
  readonly claimedDiffId: DiffId | undefined;
};

/** A part of an archive, in the archive's order. The config comes at most once. */
export type SavedPart =
  | ({ readonly kind: "layer" } & SavedLayer)
  | { readonly kind: "config"; readonly config: ImageConfig };

/** An engine writes a small document for each layer. */
const MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024;

/**
 * Reads the archive that an engine saves of an image with raw layers, whose ID is the config's digest. Keeps nothing. The
 * archive's order of layers may differ from the image's. Ends the archive if the caller stops reading. Throws
 * `ARCHIVE_INVALID`, `IMAGE_INVALID` and `CONTENT_MISMATCH`.
 */
export async function* readSavedStream(
  archive: StreamedFile["bytes"],
  title: string,
  image: InspectedImage,
): AsyncGenerator<SavedPart> {
  let documentBytes = 0;
  const configPaths = [blobPath(image.id), `${hexOf(image.id)}.json`];
  const claims = layerClaims(image.diffIds, title);
  for await (const { kind, path, sizeBytes, bytes: content } of readTarStream(archive, title)) {
    if (kind !== "file") continue;
    const claimedDiffId = claims.find(path);
    // Larger members are layers, whatever their names.
    if (path.endsWith(".tar") || sizeBytes > MAX_JSON_BYTES || claimedDiffId !== undefined) {
      yield { kind: "layer", path, claimedDiffId, sizeBytes, bytes: content };
      continue;
    }
    documentBytes += sizeBytes;
    if (documentBytes > MAX_DOCUMENTS_BYTES)
      throw invalid(title, "its files besides the layers are too large");
    const bytes = new Uint8Array(Buffer.concat(await Array.fromAsync(content)));
    claims.addDocument(path, bytes);
    if (!configPaths.includes(path)) continue;
    const name = `"${path}" in the ${title}`;
    if (digestOf(bytes) !== image.id)
      throw misnamed(name, "The engine's copy may be damaged: pull or build the image again.");
    yield { kind: "config", config: parseImageConfig(bytes, name) };
  }
}

/** Identifies the layers of an archive by their names, and by the documents before them. */
function layerClaims(diffIds: readonly DiffId[], title: string) {
  // Engines that save layers under IDs allow no more layers.
  const chainIds = diffIds.length > MAX_LEGACY_LAYERS ? [] : chainIdsOf(diffIds);
  const byHex = new Map(diffIds.map((diffId) => [hexOf(diffId), diffId]));
  const byPath = new Map<string, DiffId | undefined>();
  return {
    // Engine 25 and Podman name a layer by its diffID.
    find: (path: string) => byPath.get(path) ?? byHex.get(/[0-9a-f]{64}/.exec(path)?.[0] ?? ""),
    addDocument(path: string, bytes: Uint8Array) {
      const [, legacyId] = /^([0-9a-f]{64})\/json$/.exec(path) ?? [];
      if (legacyId === undefined) return;
      const place = legacyPlace(legacyId, bytes, chainIds, `"${path}" in the ${title}`);
      if (place !== undefined) byPath.set(`${legacyId}/layer.tar`, diffIds[place]);
    },
  };
}
