import { expect, test } from "bun:test";
import { join } from "node:path";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { contentReader } from "../../src/source/files/content.ts";
import { readDockerArchive } from "../../src/source/files/docker-archive.ts";
import { readOciLayout } from "../../src/source/files/oci-layout.ts";
import { onlyImage } from "../../test/support/open-fixture.ts";
import { sha256 } from "../../test/support/sha256.ts";
import { bytesOf } from "../../test/support/stored-bytes.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { compressImage } from "./compress-image.ts";
import { makeImage } from "./make-image.ts";

const BYTES = 12_000_000;

async function diffIdsOf(path: string): Promise<string[]> {
  const [saved] = (await readDockerArchive(await openArchiveFiles(path, path))) ?? [];
  const layers = (await saved?.read())?.layers ?? [];
  for (const { diffId, content } of layers) expect(sha256(await bytesOf(content))).toBe(diffId);
  return layers.map(({ diffId }) => diffId);
}

test("A benchmark's image is the same on every machine, and another version changes only its last layer", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  for (const [name, app] of [
    ["one", "a"],
    ["same", "a"],
    ["other", "b"],
  ] as const)
    await makeImage(at(name), { bytes: BYTES, tag: "v1", app });
  const one = await diffIdsOf(at("one"));
  expect(one).toHaveLength(5);
  expect(await diffIdsOf(at("same"))).toEqual(one);
  const other = await diffIdsOf(at("other"));
  expect(other.slice(0, 4)).toEqual(one.slice(0, 4));
  expect(other[4]).not.toBe(one[4]);
  // Numbers of different images cannot be compared: a change here makes all earlier ones worthless.
  expect(one[0]).toBe("sha256:44a68eba36de1c6e6a37773898d51d77cfb82d9f05d950d0651bac2ce393154e");
});

test("The layers of a benchmark's image compress as well as those of real software", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  await makeImage(at("image.tar"), { bytes: BYTES, tag: "v1", app: "a" });
  await compressImage(at("image.tar"), { archive: at("oci.tar"), folder: at("oci") });
  const share = Bun.file(at("oci.tar")).size / Bun.file(at("image.tar")).size;
  expect(share).toBeGreaterThan(0.33);
  expect(share).toBeLessThan(0.41);

  const files = await openArchiveFiles(at("oci.tar"), "oci.tar");
  const [saved] = (await readOciLayout(files, contentReader(files)))?.candidates ?? [];
  const { layers } = onlyImage(await saved?.read());
  expect(layers.map(({ compression }) => compression)).toEqual(Array(5).fill("gzip"));
  const unpacked = layers.map(async ({ content }) => sha256(Bun.gunzipSync(await bytesOf(content))));
  expect(await Promise.all(unpacked)).toEqual(await diffIdsOf(at("image.tar")));
});
