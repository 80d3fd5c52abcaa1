import * as v from "valibot";
import { blobPath, type DiffId, type Digest, digestOf, hexOf } from "../../oci/digest.ts";
import { assertLayerCount, compressionOf, type ImageConfig, parseImageConfig } from "../../oci/image.ts";
import { MAX_JSON_BYTES, parseJson } from "../../oci/json-schema.ts";
import { DOCKER_MANIFEST } from "../files/docker-archive.ts";
import { misnamed } from "../files/image-files.ts";
import { type InspectedImage, type ResolvedImage, resolveImage } from "../resolve-image.ts";
import { invalid } from "../tar/entries.ts";
import { readTarStream, type StreamedFile } from "../tar/stream.ts";
import { chainIdsOf, legacyPlace, MAX_LEGACY_LAYERS } from "./legacy-layers.ts";

/** A layer of a saved archive. */
export type SavedLayer = StreamedFile & {
  /** Which layer it is, as the archive has it: to be checked. Undefined: that is known when it was read. */
  readonly claimedDiffId: DiffId | undefined;
};

/** A part of an archive, as it comes. */
export type SavedPart =
  | ({ readonly kind: "layer" } & SavedLayer)
  /** The image is known by its digests. Comes once, before the end, if at all; some layers may have come by then. */
  | { readonly kind: "image"; readonly image: ResolvedImage }
  /** Comes at the end, where digests do not tell all layers. Paths are base first, as the diffIDs of the config. */
  | { readonly kind: "manifest"; readonly config: ImageConfig; readonly layerPaths: readonly string[] };

const MANIFEST = v.pipe(DOCKER_MANIFEST, v.length(1, "it should list one image"));

/** All that is kept in memory. */
const MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024;

/**
 * Reads what `docker save` writes as it comes, once, and without keeping it. Layers come in the archive's order, which
 * need not be the image's. A caller that stops reading ends the archive. Throws `ARCHIVE_INVALID`, `IMAGE_INVALID` and
 * `CONTENT_MISMATCH`.
 */
export async function* readSavedStream(
  archive: StreamedFile["bytes"],
  title: string,
  image: InspectedImage,
): AsyncGenerator<SavedPart> {
  const documents = new Map<string, Uint8Array<ArrayBuffer>>();
  let documentBytes = 0;
  const claims = layerClaims(image.diffIds, title);
  let resolved: ResolvedImage | undefined;
  let layerPaths: string[] | undefined;
  const layer = (path: string, sizeBytes: number, bytes: StreamedFile["bytes"]) =>
    ({ kind: "layer", path, claimedDiffId: claims.find(path), sizeBytes, bytes }) as const;

  for await (const { kind, path, sizeBytes, bytes: content } of readTarStream(archive, title)) {
    if (kind !== "file") continue;
    // Larger members are layers, whatever their names.
    if (path.endsWith(".tar") || sizeBytes > MAX_JSON_BYTES || claims.find(path) !== undefined) {
      yield layer(path, sizeBytes, content);
      continue;
    }
    const bytes = new Uint8Array(Buffer.concat(await Array.fromAsync(content)));
    // A containerd store names layers by their compressed digests: only the magic tells small ones from documents.
    if (compressionOf(bytes) !== "none") {
      yield layer(path, sizeBytes, piecesOf(bytes));
      continue;
    }
    documentBytes += sizeBytes;
    if (documentBytes > MAX_DOCUMENTS_BYTES) throw invalid(title, "it holds too much beside its layers");
    documents.set(path, bytes);
    claims.addDocument(path, bytes);
    if (resolved !== undefined) continue;
    resolved = await resolveImage(image, async (digest) => findDocument(digest, documents, title));
    if (resolved === undefined) continue;
    layerPaths = resolved.layers?.map(({ digest }) => blobPath(digest));
    claims.addLayers(layerPaths ?? []);
    yield { kind: "image", image: resolved };
  }
  const manifest = layerPaths === undefined ? readManifest(documents, title) : undefined;
  if (manifest !== undefined) yield { kind: "manifest", ...manifest };
  // Small raw layers look like documents.
  for (const path of new Set(layerPaths ?? manifest?.layerPaths)) {
    const bytes = documents.get(path);
    if (bytes !== undefined) yield layer(path, bytes.length, piecesOf(bytes));
  }
}

/** Which layer a member of the archive is, as far as its name and the documents before it tell. */
function layerClaims(diffIds: readonly DiffId[], title: string) {
  // Engines that save layers under IDs make no more.
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
    addLayers(paths: readonly string[]) {
      for (const [i, path] of paths.entries()) byPath.set(path, diffIds[i]);
    },
  };
}

/** Documents by their archive paths. */
type Documents = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

function findDocument(digest: Digest, documents: Documents, title: string) {
  const path = [blobPath(digest), `${hexOf(digest)}.json`].find((each) => documents.has(each)) ?? "";
  const bytes = documents.get(path);
  if (bytes === undefined || digestOf(bytes) === digest) return bytes;
  const hint = "The engine's copy may be damaged: pull or build the image again.";
  throw misnamed(`"${path}" in the ${title}`, hint);
}

/** Reads `manifest.json`, which comes last. */
function readManifest(documents: Documents, title: string) {
  const manifestBytes = documents.get("manifest.json");
  if (manifestBytes === undefined) throw invalid(title, 'it has no "manifest.json"');
  const [image] = parseJson(manifestBytes, MANIFEST, `"manifest.json" in the ${title}`);
  const { Config: configPath = "", Layers: layerPaths = [] } = image ?? {};
  const configBytes = documents.get(configPath);
  if (configBytes === undefined) throw invalid(title, `it lacks "${configPath}"`);
  const config = parseImageConfig(configBytes, `"${configPath}" in the ${title}`);
  assertLayerCount(config.diffIds, layerPaths, `"manifest.json" in the ${title}`);
  return { config, layerPaths };
}

async function* piecesOf(bytes: Uint8Array<ArrayBuffer>) {
  yield bytes;
}
