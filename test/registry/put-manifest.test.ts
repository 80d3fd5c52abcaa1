import { describe, expect, test } from "bun:test";
import { RegistryError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { imageManifest } from "../../src/oci/manifest.ts";
import { putManifest } from "../../src/registry/put-manifest.ts";
import { answering, answerLost, faultAlways } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientOf, type TestClient, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const CONFIG = blobOf(seededBytes(100, 1));
const LAYER = blobOf(seededBytes(2000, 2));
const MANIFEST = imageManifest(CONFIG.descriptor, [LAYER.descriptor, LAYER.descriptor]);

const tag = (client: TestClient) => putManifest(client, "v1", MANIFEST, client);

async function uploadAll(client: TestClient): Promise<void> {
  for (const blob of [CONFIG, LAYER]) await upload(client, blob);
}

describe("putManifest", () => {
  test("tags the very bytes", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    await uploadAll(client);
    await tag(client);
    const text = (await registry.pullManifest("team/app", "v1")) ?? "";
    expect(digestOf(new TextEncoder().encode(text))).toBe(MANIFEST.digest);
    expect(registry.recorded("put-manifest")).toMatchObject([
      { contentLength: MANIFEST.bytes.length, status: 201 },
    ]);
    expect(registry.recorded("put-manifest")[0]?.transferEncoding).toBeUndefined();
  });

  test("says its media type in the header and in the document", async () => {
    const seen: { type: string | null; body: unknown }[] = [];
    await using server = startHttpServer(async (request) => {
      seen.push({ type: request.headers.get("content-type"), body: await request.json() });
      return new Response(null, { status: 201 });
    });
    await tag(clientOf(server));
    const type = "application/vnd.oci.image.manifest.v1+json";
    expect(seen).toMatchObject([{ type, body: { schemaVersion: 2, mediaType: type } }]);
  });

  test("is tried again while the registry collects its garbage, and after a lost answer", async () => {
    const busy = answering(
      500,
      {},
      '{"errors":[{"code":"UNKNOWN","message":"garbage collection is on-going"}]}',
    );
    const faults = [busy, answerLost];
    await using registry = await startTestRegistry({
      intercept: faultAlways("put-manifest", (...request) => faults.shift()?.(...request)),
    });
    const client = clientOf(registry);
    await uploadAll(client);
    await tag(client);
    expect(registry.recorded("put-manifest").map(({ status }) => status)).toEqual([500, 0, 201]);
    expect(await registry.pullManifest("team/app", "v1")).toBeString();
  });

  test("says which blob the registry misses, and tags nothing", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    await upload(client, LAYER);
    const error = await rejection(tag(client));
    expect(error).toBeInstanceOf(RegistryError);
    expect(error.message).toContain("BLOB_UNKNOWN");
    expect(error.message).toContain(CONFIG.descriptor.digest);
    expect(error).toMatchObject({ answer: { status: 400, specCodes: ["BLOB_UNKNOWN"] } });
    expect(registry.recorded("put-manifest")).toHaveLength(1);
    expect(await registry.pullManifest("team/app", "v1")).toBeUndefined();
  });

  test("is not fooled by a registry that stores something else", async () => {
    const other = `sha256:${"0".repeat(64)}`;
    await using registry = await startTestRegistry({
      intercept: faultAlways("put-manifest", answering(201, { "docker-content-digest": other })),
    });
    const error = await rejection(tag(clientOf(registry)));
    expect(error.code).toBe("CONTENT_MISMATCH");
    expect(error.message).toContain(MANIFEST.digest);
  });

  test("keeps a terminal safe from what a registry says that it stored", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("put-manifest", answering(201, { "docker-content-digest": "8 bit \u009b31m" })),
    });
    const { message } = await rejection(tag(clientOf(registry)));
    expect(message).toContain("31m");
    expect(message).toMatch(/^[\x20-\x7e]*$/);
  });

  test.each([200, 202, 404])("takes a %d for a failure", async (status) => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("put-manifest", answering(status)),
    });
    expect((await rejection(tag(clientOf(registry)))).code).toBe("REGISTRY_FAILED");
    expect(registry.requests).toHaveLength(1);
  });
});
