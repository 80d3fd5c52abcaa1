import { describe, expect, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { ErrorCode } from "../../index.ts";
import { RegistryError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { imageManifest } from "../../src/oci/manifest.ts";
import { missingBlobs, putManifest } from "../../src/registry/put-manifest.ts";
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
      if (request.method !== "PUT") return new Response(null, { status: 405 });
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

  /** A registry that does not say the digest of what it has stored, and answers reads as the test says. */
  const silent = (read: Intercept, stores = true) =>
    startTestRegistry({
      async intercept(request, kind, answer) {
        if (kind === "get-manifest") return read(request, kind, answer);
        if (kind !== "put-manifest") return undefined;
        if (!stores) return new Response(null, { status: 201 });
        const response = await answer();
        response.headers.delete("docker-content-digest");
        return response;
      },
    });

  test("reads back what a registry does not confirm by its digest, and nothing else", async () => {
    await using registry = await silent(() => undefined);
    await using confirming = await startTestRegistry();
    for (const each of [registry, confirming]) {
      await uploadAll(clientOf(each));
      await tag(clientOf(each));
    }
    expect(registry.recorded("get-manifest")).toMatchObject([
      { status: 200, path: `/v2/team/app/manifests/${MANIFEST.digest}` },
    ]);
    expect(confirming.recorded("get-manifest")).toEqual([]);
  });

  test.each<[string, (bytes: Uint8Array<ArrayBuffer>) => Blob | string]>([
    ["nothing", () => ""],
    ["something else", () => "{}"],
    ["a byte order mark more", (bytes) => new Blob(["\ufeff", bytes])],
    ["a byte less", (bytes) => new Blob([bytes.slice(0, -1)])],
    ["an endless document", (bytes) => new Blob([bytes, "x".repeat(3_000_000)])],
  ])("is not fooled by a registry that gives out %s", async (_, change) => {
    await using registry = await silent(() => new Response(change(MANIFEST.bytes)));
    await uploadAll(clientOf(registry));
    expect((await rejection(tag(clientOf(registry)))).code).toBe("CONTENT_MISMATCH");
  });

  test("is not fooled by a registry that confirms a manifest and does not have it", async () => {
    await using registry = await silent(() => undefined, false);
    await uploadAll(clientOf(registry));
    expect((await rejection(tag(clientOf(registry)))).code).toBe("CONTENT_MISMATCH");
    expect(registry.recorded("get-manifest")).toHaveLength(3);
  });

  test("gives a registry time to find what it has stored", async () => {
    const missing = [answering(404), answering(404)];
    await using registry = await silent((...request) => missing.shift()?.(...request));
    await uploadAll(clientOf(registry));
    const client = clientOf(registry);
    await tag(client);
    expect(registry.recorded("get-manifest").map(({ status }) => status)).toEqual([404, 404, 200]);
    expect(client.seenRetries).toMatchObject([
      { attempt: 1, retries: 2 },
      { attempt: 2, retries: 2 },
    ]);
  });

  test.each<[string, Intercept]>([
    ...[401, 403, 405, 400, 500, 302].map(
      (status) => [`a ${status}`, answering(status)] as [string, Intercept],
    ),
    ["a broken connection", () => "drop"],
    ["a compressed answer", () => new Response("xyz", { headers: { "content-encoding": "br" } })],
  ])("believes a registry that does not let it read: %s", async (_, read) => {
    await using registry = await silent(read);
    await uploadAll(clientOf(registry));
    await tag(clientOf(registry, { retries: 1 }));
    expect(registry.recorded("put-manifest")).toMatchObject([{ status: 201 }]);
  });

  test("believes a registry that hides from this user what there is", async () => {
    await using registry = await startTestRegistry({
      intercept: (_, kind) => {
        if (kind === "put-manifest") return new Response(null, { status: 201 });
        return kind === "get-manifest" || kind === "head-blob"
          ? new Response(null, { status: 404 })
          : undefined;
      },
    });
    await uploadAll(clientOf(registry));
    await tag(clientOf(registry));
  });

  test("keeps a terminal safe from what a registry says that it stored", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("put-manifest", answering(201, { "docker-content-digest": "8 bit \u009b31m" })),
    });
    const { message } = await rejection(tag(clientOf(registry)));
    expect(message).toContain("31m");
    expect(message).toMatch(/^[\x20-\x7e]*$/);
  });

  test.each<[number, ErrorCode]>([
    [200, "REGISTRY_UNSUPPORTED"],
    [202, "REGISTRY_UNSUPPORTED"],
    [404, "REGISTRY_REFUSED"],
  ])("takes a %d for a failure: %s", async (status, code) => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("put-manifest", answering(status)),
    });
    expect((await rejection(tag(clientOf(registry)))).code).toBe(code);
    expect(registry.requests).toHaveLength(1);
  });
});

describe("a manifest with a subject", () => {
  const subject = {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${"5".repeat(64)}`,
    size: 9,
  };
  const manifest = imageManifest(CONFIG.descriptor, [LAYER.descriptor], { subject });
  const refusal = (status: number, code: string, message: string) => () =>
    Response.json({ errors: [{ code, message }] }, { status });

  test.each([
    [400, "BLOB_UNKNOWN", `unknown manifest ${subject.digest}`],
    [404, "MANIFEST_UNKNOWN", "manifest unknown"],
    [400, "MANIFEST_INVALID", "subject"],
  ] as const)(
    "that is refused with %d %s names its subject, and no blob is sent again for it",
    async (status, code, message) => {
      await using server = startHttpServer(refusal(status, code, message));
      const client = clientOf(server, { retries: 0 });
      const error = await rejection(putManifest(client, "v1", manifest, client));
      expect(error.code).toBe("REGISTRY_REFUSED");
      expect(error.message).toContain(subject.digest);
      expect(error.hint).toContain("subject");
      expect(missingBlobs(error, [LAYER.descriptor.digest])).toBeUndefined();
    },
  );

  test("that lacks a blob is refused for that alone", async () => {
    const { digest } = LAYER.descriptor;
    await using server = startHttpServer(refusal(400, "BLOB_UNKNOWN", `unknown blob ${digest}`));
    const client = clientOf(server, { retries: 0 });
    const error = await rejection(putManifest(client, "v1", manifest, client));
    expect(missingBlobs(error, [digest])).toEqual([digest]);
  });
});
