/** How a blob that may be at the registry gets there: questions, locks, guards, and content that is found wrong. */
import { describe, expect, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError, RegistryError } from "../../src/errors.ts";
import { guardBlob } from "../../src/layers/guard.ts";
import { registrySlots } from "../../src/registry/slots.ts";
import { uploadKey } from "../../src/registry/upload/begin.ts";
import { uploadName } from "../../src/store/file-names.ts";
import { openLocks } from "../../src/store/locks.ts";
import { answering, faultAlways, faultAt } from "../support/faults.ts";
import { blobOf, clientOf, ensure, type TestClient, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const BLOB = blobOf(seededBytes(3000, 71));
const { digest } = BLOB.descriptor;

const story = (registry: TestRegistry) =>
  registry.requests.map(({ method, status }) => `${method} ${status}`);

/** A blob whose content is not what its digest says. */
const DAMAGED = { ...BLOB, content: new Blob([seededBytes(3000, 72)]) };

const guardOf = (blob: typeof BLOB, { signal }: TestClient) => guardBlob(blob, "the layer", signal);

const digestInvalid = answering(400, {}, JSON.stringify({ errors: [{ code: "DIGEST_INVALID" }] }));

describe("a blob", () => {
  test("that the registry lacks is sent", async () => {
    await using registry = await startTestRegistry();
    const sent = { how: "sent", descriptor: BLOB.descriptor, sentBytes: 3000, resumedBytes: 0 } as const;
    expect(await ensure(clientOf(registry), BLOB)).toEqual(sent);
    expect(story(registry)).toEqual(["HEAD 404", "POST 202", "PUT 201"]);
  });

  test("that is there costs one question, and is not read", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    await upload(client, BLOB);
    const before = registry.requests.length;
    const guard = { pass: () => {}, verify: () => Promise.reject(new Error("It was read.")) };
    expect(await ensure(client, BLOB, { guard })).toEqual({ how: "present" });
    expect(story(registry).slice(before)).toEqual(["HEAD 200"]);
  });

  test("that is there with another size is verified, and not sent", async () => {
    await using registry = await startTestRegistry({
      intercept: ({ url }, kind) =>
        kind === "head-blob" && url.endsWith(digest)
          ? new Response(null, { headers: { "content-length": "5" } })
          : undefined,
    });
    const client = clientOf(registry);
    expect(await ensure(client, BLOB, { guard: guardOf(BLOB, client) })).toEqual({ how: "present" });
    const error = await rejection(ensure(client, DAMAGED, { guard: guardOf(DAMAGED, client) }));
    expect(error.code).toBe("CONTENT_MISMATCH");
    // The one 404 is the answer for a blob that nobody has.
    expect(story(registry)).toEqual(["HEAD 200", "HEAD 404", "HEAD 200"]);
  });

  test("is sent where the registry claims to have every blob there may be", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("head-blob", answering(200)) });
    expect(await ensure(clientOf(registry), BLOB)).toMatchObject({ how: "sent" });
    expect(story(registry)).toEqual(["HEAD 200", "HEAD 200", "POST 202", "PUT 201"]);
  });

  test("is not asked for again where the answer is known", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    expect(await ensure(client, BLOB, { answer: { found: undefined } })).toMatchObject({ how: "sent" });
    expect(await ensure(client, BLOB, { answer: { found: { sizeBytes: 3000 } } })).toEqual({
      how: "present",
    });
    expect(story(registry)).toEqual(["POST 202", "PUT 201"]);
  });

  test("is sent, whatever the registry says, where it was mistaken before", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    await upload(client, BLOB);
    const before = registry.requests.length;
    expect(await ensure(client, BLOB, { mayMount: false })).toMatchObject({ how: "sent", sentBytes: 3000 });
    expect(story(registry).slice(before)).toEqual(["POST 202", "PUT 201"]);
  });

  test("that another process sends is waited for, and asked for again", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = clientOf(registry, { memoryDirectory: folder.path });
    const locks = openLocks(folder.path, client.signal, (reason) => {
      throw new Error(reason);
    });
    const lock = await locks.take(uploadName(uploadKey(client, digest)), () => {});
    const waiting = Promise.withResolvers<void>();
    const ensured = ensure(client, BLOB, { answer: { found: undefined }, onWaiting: waiting.resolve });
    await waiting.promise;
    await upload(client, BLOB);
    lock[Symbol.dispose]();
    expect(await ensured).toEqual({ how: "present" });
  });

  test("goes before others by its priority, else by its size", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const one = { ...client, registry: { ...client.registry, ...registrySlots(1) } };
    const blobs = [50, 70, 60].map((size) => blobOf(seededBytes(size, size)));
    await Promise.all([
      ...blobs.map((blob) => ensure(one, blob)),
      ensure(one, blobOf(seededBytes(10, 10)), { priority: Number.POSITIVE_INFINITY }),
    ]);
    expect(registry.recorded("close-upload").map(({ bodyBytes }) => bodyBytes)).toEqual([10, 70, 60, 50]);
  });
});

describe("content that is not what its digest says", () => {
  test("is never sent completely", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const error = await rejection(ensure(client, DAMAGED, { guard: guardOf(DAMAGED, client) }));
    expect(error.code).toBe("CONTENT_MISMATCH");
    expect(registry.recorded("close-upload").filter(({ status }) => status !== 0)).toEqual([]);
  });

  test("is looked for in an empty blob, too, of which no piece passes", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const empty = blobOf(new Uint8Array());
    let verified = 0;
    const guard = { pass: () => {}, verify: async () => void verified++ };
    expect(await ensure(client, empty, { guard })).toMatchObject({ how: "sent", sentBytes: 0 });
    expect(verified).toBe(1);
  });

  test.each<[string, Intercept]>([
    ["DIGEST_INVALID", digestInvalid],
    ["a bare 500", answering(500)],
  ])("is reported in the place of %s", async (_, fault) => {
    await using registry = await startTestRegistry({ intercept: faultAlways("close-upload", fault) });
    const client = clientOf(registry, { retries: 0 });
    const damage = new PushError("CONTENT_MISMATCH", "damaged");
    const guard = { pass: () => {}, verify: () => Promise.reject(damage) };
    expect(await rejection(ensure(client, BLOB, { guard }))).toBe(damage);
    expect(registry.recorded("start-upload")).toHaveLength(1);
  });

  test("is checked after DIGEST_INVALID, and a blob that is right is sent once more", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAt("close-upload", [1], digestInvalid),
    });
    const client = clientOf(registry);
    const guard = guardOf(BLOB, client);
    expect(await ensure(client, BLOB, { guard })).toMatchObject({ how: "sent", sentBytes: 3000 });
    expect(story(registry)).toEqual([
      "HEAD 404",
      "POST 202",
      "PUT 400",
      "HEAD 404",
      "DELETE 204",
      "POST 202",
      "PUT 201",
    ]);
  });

  test("is not sent more than twice after DIGEST_INVALID", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("close-upload", digestInvalid) });
    const error = await rejection(ensure(clientOf(registry), BLOB));
    expect(error).toBeInstanceOf(RegistryError);
    expect(registry.recorded("close-upload")).toHaveLength(2);
  });

  test("is not reported after a bare 500 for a blob that is right", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("close-upload", answering(500)),
    });
    const client = clientOf(registry, { retries: 0 });
    const error = await rejection(ensure(client, BLOB, { guard: guardOf(BLOB, client) }));
    expect(error).toMatchObject({ answer: { status: 500 } });
    expect(registry.recorded("start-upload")).toHaveLength(1);
  });
});
