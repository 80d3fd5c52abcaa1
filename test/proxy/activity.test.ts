/** What is reported of clients' pushes, several at a time. */
import { expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { startTestProxy, type TestProxy } from "../support/proxy.ts";
import { manifestOf, pushBlob, putManifest } from "../support/proxy-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const [CONFIG, OTHER_CONFIG, SMALL, LARGE] = [
  seededBytes(100, 1),
  seededBytes(200, 2),
  seededBytes(3000, 3),
  seededBytes(70_000, 4),
] as const;

/** What was reported of pushes: sent and present bytes, by tag. */
function pushes({ events }: TestProxy) {
  return events.flatMap((event) =>
    event.type === "pushed" ? [[event.reference, event.sentBytes, event.presentBytes]] : [],
  );
}

test("pushes to one repository at a time count each their own blobs", async () => {
  await using registry = await startTestRegistry();
  await using proxy = await startTestProxy(registry);
  for (const bytes of [CONFIG, SMALL, OTHER_CONFIG, LARGE]) await pushBlob(proxy, bytes);
  await putManifest(proxy, manifestOf(CONFIG, SMALL), { reference: "v1" });
  await putManifest(proxy, manifestOf(OTHER_CONFIG, LARGE), { reference: "v2" });
  const head = await proxy.request(`/v2/team/app/blobs/${digestOf(LARGE)}`, { method: "HEAD" });
  expect(head.status).toBe(200);
  await pushBlob(proxy, CONFIG);
  await putManifest(proxy, manifestOf(CONFIG, LARGE), { reference: "v3" });
  expect(pushes(proxy)).toEqual([
    ["registry.example.com/team/app:v1", 3100, 0],
    ["registry.example.com/team/app:v2", 70_200, 0],
    ["registry.example.com/team/app:v3", 0, 70_100],
  ]);
});

test("the push of an index counts what came with its images, and one by digest is no push of its own", async () => {
  await using registry = await startTestRegistry();
  await using proxy = await startTestProxy(registry);
  const images = [manifestOf(CONFIG, SMALL), manifestOf(OTHER_CONFIG, LARGE)];
  for (const bytes of [CONFIG, SMALL, OTHER_CONFIG, LARGE]) await pushBlob(proxy, bytes);
  for (const image of images)
    expect((await putManifest(proxy, image, { reference: image.digest })).status).toBe(201);
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const manifests = images.map(({ digest, bytes, ...rest }) => ({ ...rest, digest, size: bytes.length }));
  const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  // As Helm: by digest first.
  for (const reference of [digestOf(bytes), "v1"])
    expect((await putManifest(proxy, { bytes, mediaType }, { reference })).status).toBe(201);
  expect(pushes(proxy)).toEqual([["registry.example.com/team/app:v1", 73_300, 0]]);
});
