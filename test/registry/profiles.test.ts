/** Uploads to registries that keep them in another way than serverless-registry does. */
import { describe, expect, test } from "bun:test";
import { PROFILES, type ProfileName } from "../../dev/registry/profiles.ts";
import { growingBlob } from "../support/growing-blob.ts";
import { blobOf, clientOf, upload } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const NAMES = Object.keys(PROFILES) as ProfileName[];
/** Registries that put several PATCHes together. */
const IN_CHUNKS = NAMES.filter((name) => name !== "container-registry");
const CHUNK_BYTES = 100_000;
const FOUR_CHUNKS = blobOf(seededBytes(350_000, 91));

async function expectStored(registry: TestRegistry, blob = FOUR_CHUNKS): Promise<void> {
  const stored = await registry.pullBlob("team/app", blob.descriptor.digest);
  expect(Buffer.from(stored).equals(Buffer.from(await blob.content.arrayBuffer()))).toBe(true);
}

const start = (profile: ProfileName, options: Parameters<typeof startTestRegistry>[0] = {}) =>
  startTestRegistry({ profile, maxChunkBytes: 1_000_000, ...options });

describe("without faults", () => {
  test.each(IN_CHUNKS)("a blob goes to %s in chunks, each sent once", async (profile) => {
    await using registry = await start(profile);
    await upload(clientOf(registry), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(registry.recorded("patch").map(({ bodyBytes }) => bodyBytes)).toEqual([1e5, 1e5, 1e5, 5e4]);
    await expectStored(registry);
  });

  test.each(IN_CHUNKS)("a growing blob whose last chunk has one byte goes to %s", async (profile) => {
    await using registry = await start(profile);
    const blob = growingBlob();
    const bytes = seededBytes(600_001, 92);
    blob.add(bytes);
    const { digest } = blob.finish();
    // Its size is unknown when the chunk size is chosen.
    await upload(clientOf(registry), blob, { chunkBytes: 600_000 });
    expect(registry.recorded("patch").map(({ bodyBytes }) => bodyBytes)).toEqual([600_000, 1]);
    expect(Buffer.from(await registry.pullBlob("team/app", digest)).equals(Buffer.from(bytes))).toBe(true);
  });
});
