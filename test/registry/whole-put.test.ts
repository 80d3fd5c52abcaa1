/** Registries that take no chunks, or hardly any: there a blob goes up in one PUT, however large. */
import { describe, expect, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError, RegistryError } from "../../src/errors.ts";
import { connect } from "../../src/registry/connect.ts";
import { recallLimits } from "../../src/store/upload-notes.ts";
import { answering, faultAlways, faultAt } from "../support/faults.ts";
import {
  blobOf,
  clientOf,
  connectOptions,
  upload as send,
  type TestClient,
} from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const BLOB = blobOf(seededBytes(900_000, 51));
const OTHER = blobOf(seededBytes(800_000, 52));
const CHUNK_BYTES = 200_000;

const UNSUPPORTED = JSON.stringify({ errors: [{ code: "UNSUPPORTED", message: "no chunks here" }] });

/** Says nothing of chunks, and takes bodies of any size, but for the fault. */
const start = (intercept: Intercept, maxBodyBytes = 10_000_000) =>
  startTestRegistry({
    chunkHints: false,
    minChunkBytes: 1,
    maxChunkBytes: 10_000_000,
    maxBodyBytes,
    intercept,
  });

const upload = (client: TestClient, blob = BLOB) => send(client, blob, { chunkBytes: CHUNK_BYTES });

/** What is noted about bodies for the next process. */
async function notedLimits({ registry }: TestClient) {
  const { maxBodyBytes, wholePuts } = await recallLimits(registry.notes, registry.origin);
  return { maxBodyBytes, wholePuts };
}

const story = (registry: TestRegistry) =>
  registry.requests.map(({ method, status }) => `${method} ${status}`);

describe("where chunks are refused", () => {
  test.each<[string, Intercept]>([
    ["405", answering(405)],
    ["501", answering(501)],
    ["UNSUPPORTED", answering(400, {}, UNSUPPORTED)],
  ])("with %s, the blob goes up whole, at once", async (_, refusal) => {
    await using registry = await start(faultAlways("patch", refusal));
    const client = clientOf(registry);
    await upload(client);
    expect(story(registry).map((line) => line.split(" ")[0])).toEqual([
      "POST",
      "PATCH",
      "DELETE",
      "POST",
      "PUT",
    ]);
    expect(client.seenRetries).toEqual([]);
    await expectStored(registry, BLOB);
  });

  test("at the second chunk, the blob goes up whole as well", async () => {
    await using registry = await start(faultAt("patch", [2], answering(400, {}, UNSUPPORTED)));
    await upload(clientOf(registry));
    await expectStored(registry, BLOB);
  });

  test("no other blob is tried in chunks, in this process and the next", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start(faultAlways("patch", answering(405)));
    const client = clientOf(registry, { memoryDirectory: folder.path });
    await upload(client);
    await upload(client, OTHER);
    expect(registry.recorded("patch")).toHaveLength(1);
    expect(await notedLimits(client)).toEqual({ maxBodyBytes: undefined, wholePuts: "only" });
  });

  test("and one PUT is too large, the push ends", async () => {
    await using registry = await start(faultAlways("patch", answering(405)), 500_000);
    const error = await rejection(upload(clientOf(registry)));
    expect(error.code).toBe("BODY_TOO_LARGE");
    expect(registry.recorded("start-upload")).toHaveLength(2);
  });

  test("by a registry that says how large they may be, the push ends", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("patch", answering(405)) });
    const error = await rejection(upload(clientOf(registry)));
    expect(error).toBeInstanceOf(RegistryError);
    expect((error as RegistryError).answer.status).toBe(405);
    expect(registry.recorded("start-upload")).toHaveLength(1);
  });
});

describe("where chunks have to be tiny, as GHCR says by a 416", () => {
  const tooLarge: Intercept = (request, kind) =>
    kind === "patch" && Number(request.headers.get("content-length")) > 120_000
      ? new Response("body too large", { status: 416 })
      : undefined;

  test("the blob goes up whole", async () => {
    await using registry = await start(tooLarge);
    const client = clientOf(registry);
    await upload(client);
    expect(registry.recorded("patch")).toHaveLength(1);
    expect(client.registry.learned.wholePuts).toBe("preferred");
    await expectStored(registry, BLOB);
  });

  test("and one PUT is too large, it goes up in chunks that pass", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start(tooLarge, 500_000);
    const client = clientOf(registry, { memoryDirectory: folder.path });
    await upload(client);
    await expectStored(registry, BLOB);
    expect(client.registry.learned.wholePuts).toBe("refused");
    expect(await notedLimits(client)).toEqual({ maxBodyBytes: 100_000, wholePuts: undefined });
  });
});

describe("a connection that breaks in the first body", () => {
  /** A proxy that hangs up on large bodies, and says nothing. */
  const hangUp =
    (limit: number): Intercept =>
    async (request) => {
      if (Number(request.headers.get("content-length")) <= limit) return undefined;
      await request.body?.getReader().read();
      return "drop" as const;
    };

  test("each time is taken for a body limit", async () => {
    await using registry = await start(hangUp(100_000));
    const client = clientOf(registry, { retries: 3 });
    await upload(client);
    await expectStored(registry, BLOB);
    expect(client.registry.learned.maxBodyBytes).toBe(100_000);
  });

  test("does not limit the bodies of the next process, because it is only a guess", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start(hangUp(100_000));
    await upload(clientOf(registry, { retries: 3, memoryDirectory: folder.path }));
    const next = await connect(connectOptions(registry, folder.path), clientOf(registry));
    expect(next.learned.maxBodyBytes).toBeUndefined();
  });

  test("once is not taken for a body limit", async () => {
    await using registry = await start(faultAt("patch", [1], hangUp(1)));
    const client = clientOf(registry);
    await upload(client);
    expect(client.registry.learned.maxBodyBytes).toBeUndefined();
    expect(registry.recorded("patch")[0]?.contentLength).toBe(CHUNK_BYTES);
  });

  test("is not taken for a body limit after a chunk of that size has passed", async () => {
    await using registry = await start(faultAt("patch", [2, 3, 4], hangUp(1)));
    const client = clientOf(registry);
    await upload(client);
    expect(client.registry.learned.maxBodyBytes).toBeUndefined();
    expect(registry.recorded("start-upload")).toHaveLength(1);
    await expectStored(registry, BLOB);
  });

  test("of any size ends the push with CONNECTION_LOST", async () => {
    await using registry = await start(faultAlways("patch", hangUp(1)));
    const error = await rejection(upload(clientOf(registry, { retries: 3 })));
    expect(error).toBeInstanceOf(PushError);
    expect(error.code).toBe("CONNECTION_LOST");
  });
});
