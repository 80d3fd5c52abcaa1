import { describe, expect, test } from "bun:test";
import type { ErrorCode } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { findBlob } from "../../src/registry/find-blob.ts";
import { answering, faultAlways, faultAt, unavailable } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientOf, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const BLOB = blobOf(seededBytes(3000, 1));
const { digest } = BLOB.descriptor;

describe("findBlob", () => {
  test("finds nothing, and what was uploaded", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    expect(await findBlob(client, digest, client)).toBeUndefined();
    await upload(client, BLOB);
    expect(await findBlob(client, digest, client)).toEqual({ sizeBytes: 3000 });
    expect(await findBlob(client, digestOf(seededBytes(9, 9)), client)).toBeUndefined();
    expect(await findBlob({ ...client, name: "team/other" }, digest, client)).toBeUndefined();
  });

  test("believes the status of a mounted blob, whose size is another", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    await upload(client, BLOB);
    const mount = `${registry.url}/v2/team/copy/blobs/uploads/?mount=${digest}&from=team/app`;
    expect((await fetch(mount, { method: "POST" })).status).toBe(201);
    const found = await findBlob({ ...client, name: "team/copy" }, digest, client);
    expect(found).toBeDefined();
    expect(found?.sizeBytes).not.toBe(3000);
  });

  test("follows a redirect to the storage, without the credentials", async () => {
    const seen: (string | null)[] = [];
    await using storage = startHttpServer((request) => {
      seen.push(`${request.method} ${request.headers.get("authorization")}`);
      return new Response(null, { headers: { "content-length": "5" } });
    });
    await using registry = await startTestRegistry({
      intercept: faultAlways("head-blob", answering(302, { location: `${storage.url}/blob?signature=x` })),
    });
    const client = clientOf(registry, { authorization: "Basic eA==" });
    expect(await findBlob(client, digest, client)).toBeDefined();
    expect(registry.requests).toMatchObject([{ hadAuthorization: true }]);
    expect(seen).toEqual(["HEAD null"]);
  });

  test("is tried again", async () => {
    await using registry = await startTestRegistry({ intercept: faultAt("head-blob", [1, 2], unavailable) });
    const client = clientOf(registry);
    expect(await findBlob(client, digest, client)).toBeUndefined();
    expect(client.seenRetries.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test.each<[number, ErrorCode]>([
    [401, "UNAUTHORIZED"],
    [403, "DENIED"],
    [400, "REGISTRY_FAILED"],
  ])("ends at once with a %d", async (status, code) => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("head-blob", answering(status)),
    });
    const client = clientOf(registry);
    expect((await rejection(findBlob(client, digest, client))).code).toBe(code);
    expect(registry.requests).toHaveLength(1);
  });
});
