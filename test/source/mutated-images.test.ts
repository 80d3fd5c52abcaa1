/** An image with wrong documents is read as it says, or refused; nothing else comes of it, and nothing hangs. */
import { expect, test } from "bun:test";
import { PushError } from "../../src/errors.ts";
import { imagesOf } from "../../src/oci/content.ts";
import { digestOf, parseDiffId, parseDigest } from "../../src/oci/digest.ts";
import type { Image } from "../../src/oci/image.ts";
import { attachedTo } from "../../src/source/attached.ts";
import type { ImageFiles } from "../../src/source/files/image-files.ts";
import { listImages } from "../../src/source/list-images.ts";
import { selectPlatform } from "../../src/source/select-platform.ts";
import { readSavedStream } from "../../src/source/stream/saved-stream.ts";
import { FUZZ_FACTOR, FUZZ_TIMEOUT, fuzz, HAS_MANY_CASES, type Random } from "../support/fuzz.ts";
import { blobOf, filesOf, fixtureImage, untypedManifest } from "../support/image-fixture.ts";
import {
  archiveBytes,
  classicFiles,
  type FixtureFiles,
  layoutFiles,
  podmanFiles,
} from "../support/image-forms.ts";
import { inMemory } from "../support/open-fixture.ts";
import { piecesOf } from "../support/pieces.ts";
import { mutatedJson } from "./mutated-json.ts";

const CASES = 2000;
const image = fixtureImage(1, 2, 1);
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

/** A layout of which some documents are mutated, each named by its own digest again. */
function mutatedLayout(random: Random): FixtureFiles {
  const blobs = untypedManifest(image, random.pick([(layer) => layer, (layer) => Bun.gzipSync(layer)]));
  const maybe = (text: string) => (random.below(2) === 0 ? mutatedJson(text, random) : text);
  const config = blobOf(maybe(image.config));
  const manifestText = Buffer.from(blobs.root.bytes).toString().replace(blobs.config.digest, config.digest);
  const manifest = blobOf(maybe(manifestText));
  const entry = {
    digest: manifest.digest,
    size: manifest.bytes.length,
    platform: { os: "linux", architecture: "amd64" },
  };
  const about = {
    "vnd.docker.reference.type": "attestation-manifest",
    "vnd.docker.reference.digest": entry.digest,
  };
  const attestation = blobOf(
    maybe(JSON.stringify({ config: { digest: config.digest }, layers: [], subject: entry })),
  );
  const other = { ...entry, platform: { os: "linux", architecture: "arm64" }, annotations: { a: "b" } };
  const attested = { digest: attestation.digest, annotations: about };
  const index = blobOf(maybe(JSON.stringify({ manifests: [entry, other, attested] })));
  const root = random.pick([entry, { mediaType: INDEX_TYPE, digest: index.digest }]);
  const layout = layoutFiles([root, ...random.pick([[], [{ digest: attestation.digest }]])]);
  return {
    ...layout,
    "index.json": maybe(String(layout["index.json"])),
    ...filesOf([config, manifest, attestation, index, ...blobs.layers]),
  };
}

function mutatedArchive(random: Random): FixtureFiles {
  const files = random.pick([classicFiles(image, ["a:b"]), podmanFiles(image, ["a:b"])]);
  const documents = Object.keys(files).filter((name) => /json$/.test(name));
  const name = random.below(2) === 0 ? "manifest.json" : random.pick(documents);
  return { ...files, [name]: mutatedJson(String(files[name]), random) };
}

const mutated = (random: Random) => (random.below(2) === 0 ? mutatedLayout(random) : mutatedArchive(random));

/** Whether reading goes well. Any failure that is none of ours fails the test. */
async function isRead(reading: Promise<unknown>): Promise<boolean> {
  try {
    await reading;
    return true;
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    expect(error.message.length).toBeGreaterThan(0);
    return false;
  }
}

async function readAll(files: ImageFiles): Promise<void> {
  const { candidates, referrers } = await listImages(files);
  for (const { read } of candidates) {
    const content = await read();
    if (content.kind === "missing") continue;
    for (const image of imagesOf(content)) await expectWhole(image);
    await attachedTo(content, referrers);
    for (const platforms of [[], ["linux/amd64"], ["linux/amd64", "linux/arm64"]])
      await isRead((async () => selectPlatform(content, { platforms, allPlatforms: false }, "image"))());
  }
}

async function expectWhole({ config, layers, manifest }: Image): Promise<void> {
  const bytes = await config.content.bytes();
  expect(config.descriptor.digest).toBe(digestOf(bytes));
  const listed = (JSON.parse(Buffer.from(bytes).toString()) as { rootfs: { diff_ids: string[] | null } })
    .rootfs.diff_ids;
  expect(layers.map(({ diffId }) => String(diffId))).toEqual(listed ?? []);
  if (manifest !== undefined) expect(manifest.digest).toBe(digestOf(manifest.bytes));
}

test(
  "mutated documents of images in files are read or refused, with no other error",
  async () => {
    let read = 0;
    await fuzz(CASES, async (random) => {
      if (await isRead(readAll(inMemory(mutated(random))))) read++;
    });
    if (HAS_MANY_CASES) expect(read).toBeGreaterThan((CASES / 20) * FUZZ_FACTOR);
  },
  FUZZ_TIMEOUT,
);

test(
  "mutated documents of images that an engine saves are read or refused, with no other error",
  async () => {
    let read = 0;
    await fuzz(CASES, async (random) => {
      const files = mutated(random);
      const id = random.pick([
        image.configHex,
        ...Object.values(files).map((content) => digestOf(new Uint8Array(Buffer.from(content))).slice(7)),
      ]);
      const inspected = {
        id: parseDigest(`sha256:${id}`, "a test"),
        diffIds: image.diffIds.map((each) => parseDiffId(each, "a test")),
        platform: "linux/amd64",
      };
      const reading = async () => {
        for await (const part of readSavedStream(piecesOf(archiveBytes(files), 10_000), "archive", inspected))
          if (part.kind === "layer") for await (const _ of part.bytes);
      };
      if (await isRead(reading())) read++;
    });
    if (HAS_MANY_CASES) expect(read).toBeGreaterThan((CASES / 20) * FUZZ_FACTOR);
  },
  FUZZ_TIMEOUT,
);
