import { describe, expect, test } from "bun:test";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { connect } from "../../src/registry/connect.ts";
import type { Registry } from "../../src/registry/registry.ts";
import { type UploadOptions, uploadBlob } from "../../src/registry/upload/upload-blob.ts";
import { rememberRepository } from "../../src/store/blob-places.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { blobOf, clientOf } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const BLOB = blobOf(seededBytes(10_000, 61));
const { digest } = BLOB.descriptor;

const upload = (client: Registry, options: Partial<UploadOptions> = {}) =>
  uploadBlob(client, BLOB, { chunkBytes: undefined, onProgress: () => {}, ...options });

const at = (client: Registry, repository: string): Registry => ({ ...client, repository });

/** A registry that has the blob in `team/base`, seen there by a client of this folder. */
async function withBlobElsewhere(registry: TestRegistry, memoryDirectory: string): Promise<Registry> {
  const client = clientOf(registry, { memoryDirectory });
  await upload(at(client, "team/base"));
  return client;
}

const storyFrom = (registry: TestRegistry, before: number) =>
  registry.requests.slice(before).map(({ method, status }) => `${method} ${status}`);

describe("a blob that another repository has", () => {
  test("is mounted where it was seen, in one request", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    await rememberRepository(at(client, "team/base"), [digest]);
    const before = registry.requests.length;
    expect(await upload(client)).toEqual({ resumedBytes: 0, mountedFrom: "team/base" });
    expect(storyFrom(registry, before)).toEqual(["POST 201"]);
    const stored = await registry.pullBlob("team/app", digest);
    expect(Buffer.from(stored).equals(Buffer.from(await BLOB.content.arrayBuffer()))).toBe(true);
  });

  test("is mounted where the user says", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    expect(await upload(client, { mountFrom: ["team/base"] })).toMatchObject({ mountedFrom: "team/base" });
  });

  test("is mounted where the user says, though it was seen where it is no more", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    await rememberRepository(at(client, "team/gone"), [digest]);
    const before = registry.requests.length;
    expect(await upload(client, { mountFrom: ["team/base"] })).toMatchObject({ mountedFrom: "team/base" });
    // The upload that came in place of the first mount is given up.
    expect(storyFrom(registry, before)).toEqual(["POST 202", "DELETE 204", "POST 201"]);
  });

  test("is uploaded where that must not be", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    expect(await upload(client, { mountFrom: ["team/base"], mayMount: false })).toEqual({ resumedBytes: 0 });
  });
});

describe("a blob that is not where it was thought to be", () => {
  test("is uploaded with the session that came in place of a mount", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = clientOf(registry, { memoryDirectory: folder.path });
    expect(await upload(client, { mountFrom: ["team/base"] })).toEqual({ resumedBytes: 0 });
    expect(storyFrom(registry, 0)).toEqual(["POST 202", "PATCH 202", "PATCH 202", "PATCH 202", "PUT 201"]);
    await registry.pullBlob("team/app", digest);
  });

  test("is uploaded where no mount from its own repository makes sense", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = clientOf(registry, { memoryDirectory: folder.path });
    await rememberRepository(client, [digest]);
    await upload(client, { mountFrom: ["team/app"] });
    expect(registry.recorded("start-upload").map(({ query }) => query)).toEqual([""]);
  });

  test.each([400, 401, 403, 404])("is uploaded where a mount is refused with %d", async (status) => {
    await using folder = await temporaryFolder();
    const refusal = faultAlways("start-upload", (request, ...rest) =>
      request.url.includes("mount=") ? answering(status)(request, ...rest) : undefined,
    );
    await using registry = await startTestRegistry({ intercept: refusal });
    const client = clientOf(registry, { memoryDirectory: folder.path });
    expect(await upload(client, { mountFrom: ["team/base"] })).toEqual({ resumedBytes: 0 });
    await registry.pullBlob("team/app", digest);
  });
});

describe("with tokens, a mount", () => {
  const ME = { username: "me", password: "hush-Xq7" };

  async function connectTo(registry: TestRegistry, repository: string, memoryDirectory: string) {
    const { retryPolicy, stallTimeoutMs } = clientOf(registry);
    const target = parseReference(`${registry.host}/${repository}:v1`);
    return connect({
      target,
      credentials: ME,
      insecure: false,
      trust: { ca: [] },
      parallel: 1,
      retryPolicy,
      stallTimeoutMs,
      memory: { directory: memoryDirectory },
    });
  }

  test("asks for the right to read the other repository, and only it does", async () => {
    await using folder = await temporaryFolder();
    await using tokens = startTokenServer({ credentials: ME });
    await using registry = await startTestRegistry({ tokens });
    await upload(await connectTo(registry, "team/base", folder.path));
    const client = await connectTo(registry, "team/app", folder.path);
    const before = tokens.requests.length;
    expect(await upload(client, { mountFrom: ["team/base"] })).toMatchObject({ mountedFrom: "team/base" });
    expect(tokens.requests.slice(before).map(({ scopes }) => scopes)).toEqual([
      ["repository:team/app:pull,push", "repository:team/base:pull"],
    ]);
  });
});
