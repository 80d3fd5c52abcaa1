/** The list under a subject's tag, kept for a registry without a list of referrers of its own. */
import { expect, test } from "bun:test";
import type { Digest } from "../../src/oci/digest.ts";
import { imageManifest, type Manifest } from "../../src/oci/manifest.ts";
import { putManifest } from "../../src/registry/put-manifest.ts";
import { addReferrer, readFallback, readListed, removeReferrer } from "../../src/registry/referrers.ts";
import { openLocks } from "../../src/store/locks.ts";
import { blobOf, clientOf, type TestClient, upload } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const CONFIG = blobOf(seededBytes(100, 1));
const IMAGE = imageManifest(CONFIG.descriptor, []);
const { mediaType, digest: SUBJECT, bytes } = IMAGE;

function signature(n: number): Manifest {
  return imageManifest(CONFIG.descriptor, [], {
    artifactType: "application/x.signature",
    annotations: { n: `${n}` },
    subject: { mediaType, digest: SUBJECT, size: bytes.length },
  });
}

async function publish(client: TestClient, manifest: Manifest): Promise<void> {
  await putManifest(client, manifest.digest, manifest, client);
}

function locksOf(client: TestClient) {
  return openLocks(client.registry.notes.directory, client.signal, (reason) => {
    throw new Error(reason);
  });
}

test("the strict registry, which lists no referrers, gets one list under the subject's tag, each once", async () => {
  await using registry = await startTestRegistry();
  const client = clientOf(registry);
  await upload(client, CONFIG);
  await publish(client, IMAGE);
  const [first, second] = [signature(1), signature(2)];
  const locks = locksOf(client);
  for (const each of [first, second, first]) {
    await publish(client, each);
    await addReferrer(client, SUBJECT, each, locks, client);
  }
  expect(await readListed(client, SUBJECT, client)).toBeUndefined();
  const entry = (each: Manifest, n: number) => ({
    mediaType,
    digest: each.digest,
    size: each.bytes.length,
    artifactType: "application/x.signature",
    annotations: { n: `${n}` },
  });
  const { manifests } = JSON.parse(
    (await registry.pullManifest("team/app", SUBJECT.replace(":", "-"))) ?? "{}",
  );
  expect(manifests).toEqual([entry(second, 2), entry(first, 1)]);

  await removeReferrer(client, second.digest, locks, client);
  expect((await readFallback(client, SUBJECT, client))?.manifests).toEqual([entry(first, 1)] as never);
});

test("referrers that are added at once are all in the list: each change waits for the lock on it", async () => {
  await using registry = await startTestRegistry();
  const client = clientOf(registry);
  await upload(client, CONFIG);
  await publish(client, IMAGE);
  const all = Array.from({ length: 5 }, (_, n) => signature(n));
  await Promise.all(all.map((each) => publish(client, each)));
  await Promise.all(all.map((each) => addReferrer(client, SUBJECT, each, locksOf(client), client)));
  const listed = await readFallback(client, SUBJECT, client);
  expect(listed?.manifests.map(({ digest }) => digest as Digest).toSorted()).toEqual(
    all.map(({ digest }) => digest).toSorted(),
  );
});
