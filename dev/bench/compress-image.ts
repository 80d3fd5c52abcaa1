import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import * as v from "valibot";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { writeWhole } from "./make-image.ts";
import { paddingOf, tarEnd, tarHeader } from "./make-layer.ts";

const MANIFEST = v.strictTuple([v.object({ Config: v.string(), Layers: v.array(v.string()) })]);

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

/** A folder that is an OCI layout, beside the archive that holds the same. */
export type CompressedImage = { readonly archive: string; readonly folder: string };

/** Makes the OCI archive of an image with layers that are compressed as Docker and Podman do it: one gzip member. */
export async function compressImage(source: string, { archive, folder }: CompressedImage): Promise<void> {
  const partial = `${folder}.${process.pid}.part`;
  await mkdir(join(partial, "blobs/sha256"), { recursive: true });
  const files = await openArchiveFiles(source, source);
  const read = async (path: string) => {
    const content = await files.open(path);
    if (content === undefined) throw new Error(`"${source}" has no "${path}".`);
    return content;
  };
  const [saved] = v.parse(MANIFEST, JSON.parse(await (await read("manifest.json")).text()));
  const layers = await Promise.all(
    saved.Layers.map(async (path, i) => gzipBlob(partial, await read(path), `${i}`)),
  );
  const addJson = async (text: string, mediaType: string): Promise<Descriptor> => {
    const digest = createHash("sha256").update(text).digest("hex");
    await Bun.write(join(partial, "blobs/sha256", digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const config = await addJson(
    await (await read(saved.Config)).text(),
    "application/vnd.oci.image.config.v1+json",
  );
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = await addJson(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }), mediaType);
  const annotations = { "org.opencontainers.image.ref.name": "bench" };
  await Bun.write(join(partial, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await Bun.write(
    join(partial, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  await rm(folder, { recursive: true, force: true });
  await rename(partial, folder);
  const blobs = [...layers, config, manifest].map(
    ({ digest }) => `blobs/sha256/${digest.slice("sha256:".length)}`,
  );
  await packFolder(folder, [...blobs, "index.json", "oci-layout"], archive);
}

async function gzipBlob(folder: string, raw: Blob, name: string): Promise<Descriptor> {
  const path = join(folder, name);
  const hasher = createHash("sha256");
  const hashing = new Transform({
    transform(piece, _encoding, done) {
      hasher.update(piece);
      done(null, piece);
    },
  });
  await pipeline(raw.stream(), createGzip({ level: 6 }), hashing, createWriteStream(path));
  const digest = hasher.digest("hex");
  await rename(path, join(folder, "blobs/sha256", digest));
  const { size } = await stat(join(folder, "blobs/sha256", digest));
  return { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: `sha256:${digest}`, size };
}

async function packFolder(folder: string, paths: readonly string[], archive: string): Promise<void> {
  await writeWhole(archive, async (file) => {
    for (const path of paths) {
      const { size } = await stat(join(folder, path));
      await file.appendFile(tarHeader(path, size));
      await file.appendFile(createReadStream(join(folder, path)));
      await file.appendFile(paddingOf(size));
    }
    await file.appendFile(tarEnd());
  });
}

/** A blob of an OCI layout. */
export type LayoutBlob = Descriptor & { readonly path: string };

const DESCRIPTOR = v.object({ mediaType: v.string(), digest: v.string(), size: v.number() });
const OCI_INDEX = v.object({ manifests: v.strictTuple([DESCRIPTOR]) });
const OCI_MANIFEST = v.object({ config: DESCRIPTOR, layers: v.array(DESCRIPTOR) });

/** The blobs that the one manifest of a layout names: config and layers. */
export async function blobsOf(folder: string): Promise<LayoutBlob[]> {
  const pathOf = ({ digest }: Descriptor) => join(folder, "blobs/sha256", digest.slice("sha256:".length));
  const index = v.parse(OCI_INDEX, await Bun.file(join(folder, "index.json")).json());
  const manifest = v.parse(OCI_MANIFEST, JSON.parse(await readFile(pathOf(index.manifests[0]), "utf8")));
  return [manifest.config, ...manifest.layers].map((blob) => ({ ...blob, path: pathOf(blob) }));
}
