import { cp } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { startStrictRegistry } from "../../dev/registry/registry.ts";
import { push } from "../../index.ts";
import { credentialsReader } from "../../src/cli/credentials.ts";
import { parsePush } from "../../src/cli/invocation.ts";
import type { RegistryBlob } from "../../src/oci/descriptor.ts";
import { hexOf, parseDigest } from "../../src/oci/digest.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { type ArchivedImage, dockerArchive } from "../support/image-forms.ts";
import { MANIFEST } from "../support/read-back.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** The largest chunk, and the largest body that the strict registry takes. */
export const CHUNK_BYTES = 100_000;

/** Many retries are met, and what passes between them is not what is tested. */
const RETRY_DELAY_MS = 100;

/** An image on the disk, with its layers in a cache: pushing it compresses nothing. */
export type PreparedImage = {
  readonly image: ArchivedImage;
  readonly archive: string;
  readonly cacheDirectory: string;
  /** What goes up: the config, and the layers as the cache has them. */
  readonly config: RegistryBlob;
  readonly layers: readonly RegistryBlob[];
  /** What a push without faults sends: the blobs and the manifest. */
  readonly sentBytes: number;
};

/** A layer that goes up in so many chunks, for nothing compresses it. */
export function layerOfChunks(seed: string, chunks: number): Uint8Array<ArrayBuffer> {
  return seededLayer((chunks - 0.25) * CHUNK_BYTES, seed);
}

/** Makes an image in a folder, and fills a cache by a push that meets no fault. */
export async function prepareImage(
  folder: string,
  name: string,
  rawLayers: readonly Uint8Array<ArrayBuffer>[],
): Promise<PreparedImage> {
  const image = dockerArchive(rawLayers, ["team/app:v1"]);
  const archive = join(folder, `${name}.tar`);
  const cacheDirectory = join(folder, `${name}-cache`);
  await Bun.write(archive, image.archive);

  await using storage = await temporaryFolder();
  await using registry = await startStrictRegistry({ directory: storage.path });
  await pushWith(cacheDirectory, archive, `${registry.host}/team/app:v1`, [], NOBODY);
  const text = await (await fetch(`${registry.url}/v2/team/app/manifests/v1`)).text();
  const manifest = v.parse(MANIFEST, JSON.parse(text));
  const blobOf = (entry: (typeof manifest)["config"], open: (hex: string) => Blob): RegistryBlob => {
    const digest = parseDigest(entry.digest, "the manifest");
    return { descriptor: { ...entry, digest }, content: open(hexOf(digest)) };
  };
  const config = blobOf(manifest.config, () => new Blob([image.config]));
  const layers = manifest.layers.map((layer) => blobOf(layer, (hex) => Bun.file(join(cacheDirectory, hex))));
  const blobBytes = [config, ...layers].reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return { image, archive, cacheDirectory, config, layers, sentBytes: blobBytes + Buffer.byteLength(text) };
}

/** Whatever logins this machine has: none is used. */
const NOBODY = { SKIP_AUTH: "1" };

/**
 * Pushes in this process, as the command line would have it, with a copy of the cache: what a push notes there about
 * uploads and limits is nothing for the next one.
 */
export async function pushImage(
  { archive, cacheDirectory }: PreparedImage,
  target: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>> = NOBODY,
): Promise<void> {
  await using cache = await temporaryFolder();
  await cp(cacheDirectory, cache.path, { recursive: true });
  await pushWith(cache.path, archive, target, flags, env);
}

async function pushWith(
  cacheDirectory: string,
  archive: string,
  target: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const args = [...flags, "--cache-dir", cacheDirectory, archive, `http://${target}`];
  const parsed = parsePush(args, env);
  if (typeof parsed === "string") throw new Error("This should be a push.");
  const { source = archive, targets, ...command } = parsed;
  const [destination] = targets;
  const { signal } = new AbortController();
  await push({
    ...command,
    retryDelayMs: RETRY_DELAY_MS,
    source,
    target: destination,
    login: credentialsReader(command, destination.host, { environment: env, signal, onNotice: () => {} }),
  });
}
