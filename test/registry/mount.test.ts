import { describe, expect, test } from "bun:test";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { connect } from "../../src/registry/connect.ts";
import { rememberRepository } from "../../src/store/blob-places.ts";
import { answering, faultAlways } from "../support/faults.ts";
import {
  blobOf,
  clientAt,
  clientOf,
  connectOptions,
  ensure,
  type TestClient,
  upload,
} from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const BLOB = blobOf(seededBytes(10_000, 61));
const { digest } = BLOB.descriptor;

const at = (client: TestClient, name: string): TestClient => ({ ...client, name });

const noteAt = ({ registry }: TestClient, repository: string) =>
  rememberRepository(registry.notes, registry.origin, repository, [digest]);

/** A registry that has the blob in `team/base`. */
async function withBlobElsewhere(registry: TestRegistry, memoryDirectory: string): Promise<TestClient> {
  const client = clientOf(registry, { memoryDirectory });
  await upload(at(client, "team/base"), BLOB);
  return client;
}

const MOUNTED = { how: "mounted", from: "team/base" } as const;
const SENT = { how: "sent", descriptor: BLOB.descriptor, sentBytes: 10_000, resumedBytes: 0 } as const;

const storyFrom = (registry: TestRegistry, before: number) =>
  registry.requests.slice(before).map(({ method, status }) => `${method} ${status}`);

describe("a blob that another repository has", () => {
  test("is mounted where it was seen, in one request after the question", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    await noteAt(client, "team/base");
    const before = registry.requests.length;
    expect(await ensure(client, BLOB)).toEqual(MOUNTED);
    expect(storyFrom(registry, before)).toEqual(["HEAD 404", "POST 201"]);
    const stored = await registry.pullBlob("team/app", digest);
    expect(Buffer.from(stored).equals(Buffer.from(await BLOB.content.arrayBuffer()))).toBe(true);
  });

  test("is mounted where the user says", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    expect(await ensure(client, BLOB, { mountFrom: ["team/base"] })).toEqual(MOUNTED);
  });

  test("is mounted where the user says, though it was seen where it is no more", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    await noteAt(client, "team/gone");
    const before = registry.requests.length;
    expect(await ensure(client, BLOB, { mountFrom: ["team/base"] })).toEqual(MOUNTED);
    // The upload that came in place of the first mount is given up.
    expect(storyFrom(registry, before)).toEqual(["HEAD 404", "POST 202", "DELETE 204", "POST 201"]);
  });

  test("is uploaded where mounts are not allowed", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = await withBlobElsewhere(registry, folder.path);
    expect(await ensure(client, BLOB, { mountFrom: ["team/base"], mayMount: false })).toEqual(SENT);
  });
});

describe("a blob that is not where it was thought to be", () => {
  test("is uploaded with the session that came in place of a mount", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = clientOf(registry, { memoryDirectory: folder.path });
    expect(await ensure(client, BLOB, { mountFrom: ["team/base"] })).toEqual(SENT);
    expect(storyFrom(registry, 0)).toEqual(["HEAD 404", "POST 202", "PUT 201"]);
    await registry.pullBlob("team/app", digest);
  });

  test("is uploaded where no mount from its own repository makes sense", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = clientOf(registry, { memoryDirectory: folder.path });
    await noteAt(client, "team/app");
    await ensure(client, BLOB, { mountFrom: ["team/app"] });
    expect(registry.recorded("start-upload").map(({ query }) => query)).toEqual([""]);
  });

  test.each([400, 401, 403, 404])("is uploaded where a mount is refused with %d", async (status) => {
    await using folder = await temporaryFolder();
    const refusal = faultAlways("start-upload", (request, ...rest) =>
      request.url.includes("mount=") ? answering(status)(request, ...rest) : undefined,
    );
    await using registry = await startTestRegistry({ intercept: refusal });
    const client = clientOf(registry, { memoryDirectory: folder.path });
    expect(await ensure(client, BLOB, { mountFrom: ["team/base"] })).toEqual(SENT);
    await registry.pullBlob("team/app", digest);
  });
});

describe("with tokens, a mount", () => {
  const ME = { username: "me", password: "hush-Xq7" };

  async function connectTo(registry: TestRegistry, repository: string, memoryDirectory: string) {
    const target = parseReference(`${registry.host}/${repository}:v1`);
    const options = { ...connectOptions(registry, memoryDirectory), target, credentials: ME };
    return clientAt(await connect(options, clientOf(registry)), repository);
  }

  test("asks for the right to read the other repository, and only it does", async () => {
    await using folder = await temporaryFolder();
    await using tokens = startTokenServer({ credentials: ME });
    await using registry = await startTestRegistry({ tokens });
    await upload(await connectTo(registry, "team/base", folder.path), BLOB);
    const client = await connectTo(registry, "team/app", folder.path);
    const before = tokens.requests.length;
    expect(await ensure(client, BLOB, { mountFrom: ["team/base"] })).toEqual(MOUNTED);
    expect(tokens.requests.slice(before).map(({ scopes }) => scopes)).toEqual([
      ["repository:team/app:pull,push", "repository:team/base:pull"],
    ]);
  });
});
