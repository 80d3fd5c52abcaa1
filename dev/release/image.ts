/**
 * `bun dev/release/image.ts --version X` writes chunkpush's container image as an OCI image layout: an index with one
 * image for each platform. It uses no network and no container engine. The same input gives the same digest, which is
 * printed; it is as old as `SOURCE_DATE_EPOCH` says, else as the commit.
 */
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import packageJson from "../../package.json";
import { type Architecture, imageLayers } from "./image-layers.ts";
import { type TarEntry, tarOf } from "./tar-of.ts";

const PROJECT = join(import.meta.dir, "../..");

const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

const { values: flags } = parseArgs({
  options: {
    version: { type: "string" },
    out: { type: "string", default: "dist/release/image" },
    /** The executables. Without any, both are taken from dist/release. */
    amd64: { type: "string" },
    arm64: { type: "string" },
    /** What `dev/release/debian-roots` made: a folder for each platform, with Debian's files in it. */
    roots: { type: "string", default: "dist/release/roots" },
  },
});

try {
  console.log(await writeImage());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** @returns the digest of the index */
async function writeImage(): Promise<string> {
  const { version, amd64, arm64, out, roots } = flags;
  if (version === undefined) throw new Error("--version is missing.");
  const isDefault = amd64 === undefined && arm64 === undefined;
  const binaries: readonly [Architecture, string | undefined][] = [
    ["amd64", isDefault ? "dist/release/chunkpush-linux-x64" : amd64],
    ["arm64", isDefault ? "dist/release/chunkpush-linux-arm64" : arm64],
  ];
  const created = new Date(Number(process.env["SOURCE_DATE_EPOCH"] ?? timeOfCommit()) * 1000);
  const labels = {
    "org.opencontainers.image.title": packageJson.name,
    "org.opencontainers.image.description": packageJson.description,
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.licenses": packageJson.license,
    "org.opencontainers.image.created": `${created.toISOString().slice(0, 19)}Z`,
  };
  // An earlier image may lie there; nothing else is removed.
  for (const name of ["blobs", "index.json", "oci-layout"]) {
    await rm(join(out, name), { recursive: true, force: true });
  }
  await mkdir(join(out, "blobs/sha256"), { recursive: true });

  const manifests: (Descriptor & { platform: { architecture: Architecture; os: "linux" } })[] = [];
  for (const [architecture, binary] of binaries) {
    if (binary === undefined) continue;
    if (!existsSync(binary)) throw new Error(`There is no executable "${binary}".`);
    const layers = await imageLayers({
      architecture,
      binary,
      root: join(roots, architecture),
      project: PROJECT,
    });
    const manifest = await writeManifest(architecture, layers, labels);
    manifests.push({ ...manifest, platform: { architecture, os: "linux" } });
  }
  const index = await writeJson(INDEX_TYPE, {
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests,
    annotations: labels,
  });
  const annotations = { "org.opencontainers.image.ref.name": version };
  const entry = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [{ ...index, annotations }] };
  await Bun.write(join(out, "index.json"), JSON.stringify(entry));
  await Bun.write(join(out, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  return index.digest;
}

/** In seconds; 0 outside of a repository. */
function timeOfCommit(): string {
  return (
    Bun.spawnSync(["git", "log", "-1", "--format=%ct"], { cwd: PROJECT }).stdout.toString().trim() || "0"
  );
}

async function writeManifest(
  architecture: Architecture,
  layers: readonly { readonly title: string; readonly entries: readonly TarEntry[] }[],
  labels: Readonly<Record<string, string>>,
): Promise<Descriptor> {
  const diffIds: string[] = [];
  const descriptors: Descriptor[] = [];
  for (const { entries } of layers) {
    const tar = tarOf(entries);
    diffIds.push(sha256(tar));
    // Docker older than 23 cannot unpack zstd.
    const layer = Bun.gzipSync(tar, { level: 9 });
    descriptors.push(await writeBlob("application/vnd.oci.image.layer.v1.tar+gzip", layer));
  }
  const time = labels["org.opencontainers.image.created"];
  const config = await writeJson("application/vnd.oci.image.config.v1+json", {
    created: time,
    architecture,
    os: "linux",
    config: {
      Entrypoint: ["/usr/local/bin/chunkpush"],
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      WorkingDir: "/work",
      Labels: labels,
    },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: layers.map(({ title }) => ({ created: time, created_by: title })),
  });
  return writeJson(MANIFEST_TYPE, {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config,
    layers: descriptors,
    annotations: labels,
  });
}

function writeJson(mediaType: string, value: unknown): Promise<Descriptor> {
  return writeBlob(mediaType, new TextEncoder().encode(JSON.stringify(value)));
}

async function writeBlob(mediaType: string, bytes: Uint8Array<ArrayBuffer>): Promise<Descriptor> {
  const digest = sha256(bytes);
  await Bun.write(join(flags.out, "blobs", digest.replace(":", "/")), bytes);
  return { mediaType, digest, size: bytes.length };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}
