import { describe, expect, test } from "bun:test";
import { truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError, statusOf } from "../../src/errors.ts";
import type { RegistryBlob } from "../../src/oci/descriptor.ts";
import {
  answering,
  answerLost,
  brokenBody,
  faultAlways,
  faultAt,
  rewriteLocation,
  sessionDeleted,
  sessionKilled,
  unavailable,
} from "../support/faults.ts";
import { blobOf, clientOf, upload as send, type TestClient } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import {
  basic,
  expectStored,
  MAX_CHUNK,
  MIN_CHUNK,
  startTestRegistry,
  type TestRegistry,
} from "../support/test-registry.ts";

/** Three whole chunks and a smaller one. */
const FOUR_CHUNKS = blobOf(seededBytes(3 * MAX_CHUNK + 1500, 7));
const ONE_CHUNK = blobOf(seededBytes(3000, 8));

async function upload(client: TestClient, blob: RegistryBlob, chunkBytes?: number): Promise<number[]> {
  const progress: number[] = [];
  await send(client, blob, { chunkBytes, onProgress: (sentBytes) => progress.push(sentBytes) });
  return progress;
}

/** The blob is at the registry, byte for byte. */
async function expectAbsent(registry: TestRegistry, blob: RegistryBlob): Promise<void> {
  await expect(registry.pullBlob("team/app", blob.descriptor.digest)).rejects.toThrow("answered 404");
}

/** `METHOD status`, in the order in which the requests were answered; 0 is no answer. */
function story(registry: TestRegistry): string[] {
  return registry.requests.map(({ method, status }) => `${method} ${status}`);
}

describe("a blob that fits one chunk", () => {
  test.each([0, 1, 2, MIN_CHUNK - 1, MIN_CHUNK, MAX_CHUNK - 1, MAX_CHUNK])(
    "of %d bytes goes up in two requests",
    async (size) => {
      await using registry = await startTestRegistry();
      const blob = blobOf(seededBytes(size, size + 1));
      await upload(clientOf(registry), blob);
      expect(story(registry)).toEqual(["POST 202", "PUT 201"]);
      const [put] = registry.recorded("close-upload");
      expect(put).toMatchObject({ contentLength: size, bodyBytes: size });
      expect(put?.transferEncoding).toBeUndefined();
      expect(put?.query).toEndWith(`&digest=${blob.descriptor.digest}`);
      await expectStored(registry, blob);
    },
  );

  test("tells its progress up to the last byte", async () => {
    await using registry = await startTestRegistry();
    expect((await upload(clientOf(registry), ONE_CHUNK)).at(-1)).toBe(ONE_CHUNK.descriptor.size);
  });

  test.each<[string, Intercept, string[]]>([
    ["an answer of 503", unavailable, ["POST 202", "PUT 503", "HEAD 404", "GET 204", "PUT 201"]],
    ["a broken body", brokenBody, ["POST 202", "PUT 0", "HEAD 404", "GET 204", "PUT 201"]],
    ["a lost answer, when it is there already", answerLost, ["POST 202", "PUT 0", "HEAD 200"]],
    [
      "a forgotten session",
      sessionDeleted,
      ["POST 202", "DELETE 204", "PUT 500", "HEAD 404", "GET 404", "POST 202", "PUT 201"],
    ],
  ])("survives %s", async (_, fault, expected) => {
    await using registry = await startTestRegistry({ intercept: faultAt("close-upload", [1], fault) });
    await upload(clientOf(registry), ONE_CHUNK);
    expect(story(registry)).toEqual(expected);
    await expectStored(registry, ONE_CHUNK);
  });

  test("is tried as often as was asked for while the registry is overloaded, and not begun anew", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("close-upload", unavailable) });
    const error = await rejection(upload(clientOf(registry, { retries: 7 }), ONE_CHUNK));
    expect(statusOf(error)).toBe(503);
    expect(registry.recorded("start-upload")).toHaveLength(1);
    expect(registry.recorded("close-upload")).toHaveLength(8);
    await expectAbsent(registry, ONE_CHUNK);
  });
});

describe("a blob of several chunks", () => {
  test.each([MAX_CHUNK + 1024, 2 * MAX_CHUNK - 1, 2 * MAX_CHUNK, 2 * MAX_CHUNK + 1024, 500_000])(
    "of %d bytes goes up in equal PATCHes and an empty PUT",
    async (size) => {
      await using registry = await startTestRegistry();
      const blob = blobOf(seededBytes(size, size));
      await upload(clientOf(registry), blob);

      const count = Math.ceil(size / MAX_CHUNK);
      const patches = registry.recorded("patch");
      expect(story(registry)).toEqual(["POST 202", ...Array(count).fill("PATCH 202"), "PUT 201"]);
      for (const [i, patch] of patches.entries()) {
        const start = i * MAX_CHUNK;
        const bytes = Math.min(MAX_CHUNK, size - start);
        expect(patch).toMatchObject({ contentLength: bytes, bodyBytes: bytes });
        expect(patch.transferEncoding).toBeUndefined();
        expect(patch.contentRange).toBe(`${start}-${start + bytes - 1}`);
      }
      expect(new Set(patches.map(({ query }) => query)).size).toBe(count);
      expect(registry.recorded("close-upload")).toMatchObject([{ contentLength: 0, bodyBytes: 0 }]);
      await expectStored(registry, blob);
    },
  );

  test.each([MAX_CHUNK + 1, MAX_CHUNK + 1023, 2 * MAX_CHUNK + 1])(
    "of %d bytes goes up in smaller chunks, of which the last is no tiny one",
    async (size) => {
      await using registry = await startTestRegistry();
      const blob = blobOf(seededBytes(size, size));
      await upload(clientOf(registry), blob);
      const sizes = registry.recorded("patch").map(({ bodyBytes }) => bodyBytes);
      expect(sizes).toHaveLength(Math.ceil(size / MAX_CHUNK));
      expect(Math.min(...sizes)).toBeGreaterThanOrEqual(Math.max(...sizes) - sizes.length);
      await expectStored(registry, blob);
    },
  );

  test("tells its progress, always forward, up to the last byte", async () => {
    await using registry = await startTestRegistry();
    const progress = await upload(clientOf(registry), FOUR_CHUNKS);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.at(-1)).toBe(FOUR_CHUNKS.descriptor.size);
  });

  test("goes up in chunks as large as the user wishes", async () => {
    await using registry = await startTestRegistry();
    await upload(clientOf(registry), FOUR_CHUNKS, 32_000);
    expect(registry.recorded("patch").map(({ contentLength }) => contentLength)).toEqual([
      ...Array(6).fill(32_000),
      FOUR_CHUNKS.descriptor.size - 6 * 32_000,
    ]);
  });

  test.each([
    ["larger than the maximum", 10 * MAX_CHUNK, MAX_CHUNK],
    // A few bytes more leave no tail below 1 KiB.
    ["smaller than the minimum", 1, MIN_CHUNK + 3],
  ])("keeps to the registry's limits where the user's chunk size is %s", async (_, wish, chunk) => {
    await using registry = await startTestRegistry();
    await upload(clientOf(registry), FOUR_CHUNKS, wish);
    expect(registry.recorded("patch")[0]?.contentLength).toBe(chunk);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("makes its chunks larger rather than send more than 10,000", async () => {
    await using registry = await startTestRegistry({ minChunkBytes: 1, maxChunkBytes: 1_000_000 });
    const blob = blobOf(seededBytes(2_000_001, 3));
    const patches: number[] = [];
    const client = clientOf(registry, { retries: 0 });
    // The whole upload takes a while: its first chunk shows what was chosen.
    await rejection(
      send(client, blob, {
        chunkBytes: 2,
        onProgress: (sentBytes) => {
          patches.push(sentBytes);
          client.abort.abort(new PushError("INTERRUPTED", "Seen enough."));
        },
      }),
    );
    expect(patches[0]).toBe(201);
  });

  test("goes whole in one PUT where the registry says nothing of chunks", async () => {
    await using registry = await startTestRegistry({ chunkHints: false, maxBodyBytes: 1_000_000 });
    await upload(clientOf(registry), FOUR_CHUNKS);
    expect(story(registry)).toEqual(["POST 202", "PUT 201"]);
  });

  test("goes in the user's chunks where the registry says nothing of them", async () => {
    await using registry = await startTestRegistry({ chunkHints: false });
    await upload(clientOf(registry), FOUR_CHUNKS, 60_000);
    expect(registry.recorded("patch").map(({ contentLength }) => contentLength)).toEqual([
      60_000, 60_000, 60_000, 18_108,
    ]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("survives a chunk of one byte whose answer was lost", async () => {
    await using registry = await startTestRegistry({
      chunkHints: false,
      minChunkBytes: 1,
      intercept: faultAt("patch", [1], answerLost),
    });
    const blob = blobOf(seededBytes(5, 5));
    await upload(clientOf(registry), blob, 1);
    // What the registry has is not sent twice, which would ruin the blob and cost a second upload.
    expect(registry.recorded("start-upload")).toHaveLength(1);
    const sentBytes = registry.recorded("patch").reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
    expect(sentBytes).toBe(5);
    await expectStored(registry, blob);
  });

  test("may come from a file, of which each chunk is a slice", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry({ maxChunkBytes: 1_000_000 });
    const bytes = seededBytes(2_500_000, 11);
    const path = join(folder.path, "layer");
    await Bun.write(path, bytes);
    const blob = { ...blobOf(bytes), content: Bun.file(path).slice(0, bytes.length) };
    await upload(clientOf(registry), blob);
    expect(registry.recorded("patch").map(({ contentLength }) => contentLength)).toEqual([1e6, 1e6, 5e5]);
    await expectStored(registry, blob);
  });

  test("ends where its file became shorter, and does not try again", async () => {
    await using folder = await temporaryFolder();
    const bytes = seededBytes(3 * MAX_CHUNK, 12);
    const path = join(folder.path, "layer");
    await Bun.write(path, bytes);
    await using registry = await startTestRegistry({
      intercept: faultAt("patch", [2], async () => {
        await truncate(path, MAX_CHUNK + 100);
        return undefined;
      }),
    });
    const client = clientOf(registry);
    const blob = { ...blobOf(bytes), content: Bun.file(path).slice(0, bytes.length) };
    expect((await rejection(upload(client, blob))).code).toBe("CONTENT_MISMATCH");
    expect(client.seenRetries).toEqual([]);
    await expectAbsent(registry, blob);
  });

  test("uses few connections", async () => {
    await using registry = await startTestRegistry();
    await upload(clientOf(registry), blobOf(seededBytes(40 * MAX_CHUNK, 9)));
    const connections = new Set(registry.requests.map(({ connection }) => connection));
    expect(registry.requests).toHaveLength(42);
    expect(connections.size).toBeLessThanOrEqual(21);
  });
});

describe("a chunk that fails", () => {
  const uninterrupted = ["POST 202", "PATCH 202", "PATCH 202"];

  test.each<[string, Intercept, string[]]>([
    ["an answer of 503", unavailable, ["PATCH 503", "GET 204", "PATCH 202", "PATCH 202", "PUT 201"]],
    ["a broken body", brokenBody, ["PATCH 0", "GET 204", "PATCH 202", "PATCH 202", "PUT 201"]],
    ["an answer that is lost", answerLost, ["PATCH 0", "GET 204", "PATCH 202", "PUT 201"]],
  ])("is sent again where the server stands, after %s", async (_, fault, expected) => {
    await using registry = await startTestRegistry({ intercept: faultAt("patch", [3], fault) });
    const client = clientOf(registry);
    await upload(client, FOUR_CHUNKS);
    expect(story(registry)).toEqual([...uninterrupted, ...expected]);
    expect(client.seenRetries).toMatchObject([{ attempt: 1 }]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test.each([408, 425, 429, 500, 502, 503, 504, 520, 522, 524])("passes with a %d", async (status) => {
    await using registry = await startTestRegistry({ intercept: faultAt("patch", [2], answering(status)) });
    await upload(clientOf(registry), FOUR_CHUNKS);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("goes on from the place that a 416 tells", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAt("patch", [2], async (request) => {
        // Another request with the newest Location was there before, as after an answer that never came.
        const body = await FOUR_CHUNKS.content.slice(MAX_CHUNK, 2 * MAX_CHUNK).bytes();
        const headers = { "content-range": `${MAX_CHUNK}-${2 * MAX_CHUNK - 1}` };
        expect((await fetch(request.url, { method: "PATCH", headers, body })).status).toBe(202);
        return undefined;
      }),
    });
    await upload(clientOf(registry), FOUR_CHUNKS);
    expect(story(registry)).toEqual([
      "POST 202",
      "PATCH 202",
      "PATCH 202",
      "PATCH 416",
      "PATCH 202",
      "PATCH 202",
      "PUT 201",
    ]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("finds its place where the registry refuses to tell it", async () => {
    const lost = faultAt("patch", [2], answerLost);
    const refused = faultAlways("upload-status", answering(403));
    await using registry = await startTestRegistry({
      intercept: async (...request) => (await lost(...request)) ?? refused(...request),
    });
    await upload(clientOf(registry), FOUR_CHUNKS);
    expect(story(registry)).toContain("PATCH 416");
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("begins anew where the session is gone", async () => {
    await using registry = await startTestRegistry({ intercept: faultAt("patch", [3], sessionDeleted) });
    await upload(clientOf(registry), FOUR_CHUNKS);
    expect(story(registry)).toEqual([
      ...uninterrupted,
      "DELETE 204",
      "PATCH 500",
      "GET 404",
      "POST 202",
      ...Array(4).fill("PATCH 202"),
      "PUT 201",
    ]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("does not begin anew for ever where every session disappears", async () => {
    await using registry = await startTestRegistry({
      intercept: (request, kind, answer) =>
        kind === "patch" && request.headers.get("content-range")?.startsWith(`${MAX_CHUNK}-`)
          ? sessionDeleted(request, kind, answer)
          : undefined,
    });
    const error = await rejection(upload(clientOf(registry, { retries: 6 }), FOUR_CHUNKS));
    expect(statusOf(error)).toBe(500);
    expect(registry.recorded("start-upload")).toHaveLength(7);
  });

  test("ends the upload when its retries are used up", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAt("patch", [2, 3, 4, 5, 6, 7, 8], unavailable),
    });
    const client = clientOf(registry, { retries: 2 });
    expect(statusOf(await rejection(upload(client, FOUR_CHUNKS)))).toBe(503);
    expect(registry.recorded("patch").map(({ status }) => status)).toEqual([202, 503, 503, 503]);
    expect(client.seenRetries.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(registry.recorded("close-upload")).toEqual([]);
    await expectAbsent(registry, FOUR_CHUNKS);
  });

  test.each([ONE_CHUNK, FOUR_CHUNKS])("is not tried again without retries", async (blob) => {
    await using registry = await startTestRegistry({
      intercept: (_, kind) =>
        kind === "patch" || kind === "close-upload" ? new Response(null, { status: 503 }) : undefined,
    });
    const client = clientOf(registry, { retries: 0 });
    expect(statusOf(await rejection(upload(client, blob)))).toBe(503);
    expect(registry.requests).toHaveLength(2);
    expect(client.seenRetries).toEqual([]);
  });

  test("has all its retries again once another chunk went through", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAt("patch", [1, 3, 5, 7], unavailable),
    });
    await upload(clientOf(registry, { retries: 1 }), FOUR_CHUNKS);
    expect(registry.recorded("patch")).toHaveLength(8);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("has all its retries again where chunks arrive, though every answer is lost", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("patch", answerLost) });
    await upload(clientOf(registry, { retries: 1 }), FOUR_CHUNKS);
    expect(registry.recorded("patch")).toHaveLength(4);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("is given up where nothing ever moves, though the registry is friendly about it", async () => {
    await using registry = await startTestRegistry({
      intercept: async (_, kind, answer) => {
        if (kind !== "patch" && kind !== "upload-status") return undefined;
        const { headers } = await answer();
        const same = { location: headers.get("location") ?? "", range: "0--1" };
        return new Response(null, { status: kind === "patch" ? 416 : 204, headers: same });
      },
    });
    expect(statusOf(await rejection(upload(clientOf(registry), FOUR_CHUNKS)))).toBe(416);
    expect(registry.recorded("patch").length).toBeLessThanOrEqual(6);
  });

  test("is sent again when the server has stalled", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAt("patch", [2], () => new Promise(() => {})),
    });
    const client = clientOf(registry, { stallTimeoutMs: 300 });
    await upload(client, FOUR_CHUNKS);
    expect(client.seenRetries).toMatchObject([{ error: { code: "STALLED" } }]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test.each([400, 401, 403, 405])("ends the upload at once with a %d, and gives it up", async (status) => {
    await using registry = await startTestRegistry({ intercept: faultAt("patch", [2], answering(status)) });
    const client = clientOf(registry);
    expect(statusOf(await rejection(upload(client, FOUR_CHUNKS)))).toBe(status);
    expect(story(registry)).toEqual(["POST 202", "PATCH 202", `PATCH ${status}`, "DELETE 204"]);
    expect(client.seenRetries).toEqual([]);
  });
});

describe("an overloaded registry", () => {
  test("gets fewer blobs at a time until a chunk has gone through", async () => {
    const seen: string[] = [];
    const overload = faultAt("patch", [1, 2], unavailable);
    await using registry = await startTestRegistry({
      intercept: async (...request) => {
        const answer = await overload(...request);
        if (request[1] === "patch") seen.push(answer === undefined ? "taken" : "refused");
        return answer;
      },
    });
    const client = clientOf(registry, {
      retries: 2,
      // The width is 3 at first, and 1 from the second refusal to the next success.
      onRetry: ({ attempt }) => {
        if (attempt === 2) void client.registry.sending.run(0, async () => void seen.push("other"));
      },
    });
    await upload(client, FOUR_CHUNKS);
    expect(seen.slice(0, 3)).toEqual(["refused", "refused", "taken"]);
    expect(seen.indexOf("other")).toBeGreaterThan(2);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("gets as many as before after a single refusal", async () => {
    const seen: string[] = [];
    await using registry = await startTestRegistry({ intercept: faultAt("patch", [1], unavailable) });
    const client = clientOf(registry, {
      onRetry: () => void client.registry.sending.run(0, async () => void seen.push("other")),
    });
    await upload(client, FOUR_CHUNKS, undefined);
    expect(seen).toEqual(["other"]);
  });
});

describe("the question where an upload stands", () => {
  const lost = (statuses: Intercept): Intercept => {
    const patch = faultAt("patch", [2], unavailable);
    return (...request) => (request[1] === "upload-status" ? statuses(...request) : patch(...request));
  };

  test.each([500, 503])(
    "may be one that the registry fails at with a %d: the next chunk tells",
    async (status) => {
      await using registry = await startTestRegistry({ intercept: lost(answering(status)) });
      await upload(clientOf(registry), FOUR_CHUNKS);
      expect(registry.recorded("upload-status")).toHaveLength(3);
      expect(registry.recorded("patch").map((patch) => patch.status)).toEqual([202, 503, 202, 202, 202]);
      await expectStored(registry, FOUR_CHUNKS);
    },
  );

  test("says nothing of body limits, whatever is answered", async () => {
    await using registry = await startTestRegistry({ intercept: lost(answering(413)) });
    await upload(clientOf(registry), FOUR_CHUNKS);
    expect(registry.recorded("start-upload")).toHaveLength(1);
    expect(registry.recorded("patch")[0]?.contentLength).toBe(MAX_CHUNK);
    await expectStored(registry, FOUR_CHUNKS);
  });
});

describe("the closing PUT", () => {
  const patched = ["POST 202", ...Array(4).fill("PATCH 202")];

  test.each<[string, Intercept, string[]]>([
    ["an answer of 503", unavailable, ["PUT 503", "HEAD 404", "GET 204", "PUT 201"]],
    [
      "a session that died",
      sessionKilled,
      [
        "PUT 500",
        "PUT 500",
        "HEAD 404",
        "GET 204",
        "PUT 500",
        "HEAD 404",
        "GET 204",
        "DELETE 204",
        ...patched,
        "PUT 201",
      ],
    ],
    [
      "a session that is gone",
      sessionDeleted,
      ["DELETE 204", "PUT 500", "HEAD 404", "GET 404", ...patched, "PUT 201"],
    ],
  ])("survives %s", async (_, fault, expected) => {
    await using registry = await startTestRegistry({ intercept: faultAt("close-upload", [1], fault) });
    await upload(clientOf(registry), FOUR_CHUNKS);
    expect(story(registry)).toEqual([...patched, ...expected]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("survives a lost answer, when the blob is there already", async () => {
    await using registry = await startTestRegistry({ intercept: faultAt("close-upload", [1], answerLost) });
    await upload(clientOf(registry), FOUR_CHUNKS);
    // A request without a body Bun may send once more by itself, which the registry then answers with 500.
    expect(story(registry).filter((line) => line !== "PUT 500")).toEqual([...patched, "PUT 0", "HEAD 200"]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test.each([ONE_CHUNK, FOUR_CHUNKS])("with a wrong digest fails after a few requests", async (blob) => {
    await using registry = await startTestRegistry();
    const other = blobOf(seededBytes(10, 99)).descriptor.digest;
    const wrong = { ...blob, descriptor: { ...blob.descriptor, digest: other } };
    const error = await rejection(upload(clientOf(registry, { retries: 100 }), wrong));
    expect(statusOf(error)).toBe(500);
    expect(registry.recorded("close-upload").length).toBeLessThanOrEqual(6);
    expect(registry.recorded("start-upload").length).toBeLessThanOrEqual(3);
    await expectAbsent(registry, wrong);
    await expectAbsent(registry, blob);
  });

  test("keeps to its retries", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("close-upload", unavailable) });
    const client = clientOf(registry, { retries: 1 });
    expect(statusOf(await rejection(upload(client, FOUR_CHUNKS)))).toBe(503);
    expect(registry.recorded("close-upload")).toHaveLength(2);
    await expectAbsent(registry, FOUR_CHUNKS);
  });

  test.each([401, 403])("ends the upload at once with a %d, and gives it up", async (status) => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("close-upload", answering(status)),
    });
    expect(statusOf(await rejection(upload(clientOf(registry), ONE_CHUNK)))).toBe(status);
    expect(story(registry)).toEqual(["POST 202", `PUT ${status}`, "DELETE 204"]);
  });
});

describe("Location", () => {
  const ANSWERS = ["start-upload", "patch", "upload-status"] as const;

  test.each([ONE_CHUNK, FOUR_CHUNKS])("may be absolute", async (blob) => {
    let url = "";
    await using registry = await startTestRegistry({
      intercept: rewriteLocation((location) => url + location, ANSWERS),
    });
    url = registry.url;
    await upload(clientOf(registry), blob);
    await expectStored(registry, blob);
  });

  test("may lack its scheme", async () => {
    let host = "";
    await using registry = await startTestRegistry({
      intercept: rewriteLocation((location) => `//${host}${location}`, ANSWERS),
    });
    host = registry.host;
    await upload(clientOf(registry), FOUR_CHUNKS);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("may be relative to the address that was asked", async () => {
    await using registry = await startTestRegistry({
      intercept: rewriteLocation(
        (location) => location.replace("/v2/team/app/blobs/uploads/", "./"),
        ANSWERS,
      ),
    });
    await upload(clientOf(registry), FOUR_CHUNKS);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test.each([ONE_CHUNK, FOUR_CHUNKS])("may be elsewhere, where no credentials are sent", async (blob) => {
    const credentials = { username: "me", password: "hush" };
    let storage = "";
    await using front = await startTestRegistry({
      credentials,
      intercept: rewriteLocation((location) => storage + location, ["start-upload"]),
    });
    // A stranger with a disk of its own knows no session: it answers what the test says, and remembers.
    const asked: { method: string; authorization: string | null; bytes: number }[] = [];
    await using back = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      development: false,
      async fetch(request) {
        const bytes = (await request.bytes()).length;
        asked.push({ method: request.method, authorization: request.headers.get("authorization"), bytes });
        if (request.method === "PATCH") return new Response(null, { status: 202 });
        return new Response(null, { status: 201 });
      },
    });
    storage = `http://127.0.0.1:${back.port}`;
    await upload(clientOf(front, { authorization: basic("me", "hush") }), blob);
    expect(front.requests.map(({ hadAuthorization }) => hadAuthorization)).toEqual([true]);
    expect(asked.map(({ authorization }) => authorization)).toEqual(asked.map(() => null));
    expect(asked.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(blob.descriptor.size);
    expect(asked.at(-1)?.method).toBe("PUT");
  });

  test("that is no address ends the upload", async () => {
    await using registry = await startTestRegistry({
      intercept: rewriteLocation(() => "ftp://storage.example/x", ["start-upload"]),
    });
    expect((await rejection(upload(clientOf(registry), ONE_CHUNK))).code).toBe("REDIRECT_REFUSED");
    expect(registry.requests).toHaveLength(1);
  });
});

describe("Retry-After", () => {
  test.each<[string, () => string, number, number]>([
    ["seconds", () => "7", 7000, 7000],
    ["a date", () => new Date(Date.now() + 60_000).toUTCString(), 30_000, 60_000],
    ["a date that has passed", () => new Date(0).toUTCString(), 0, 1],
    ["nonsense", () => "soon", 0, 1],
    ["a negative number", () => "-5", 0, 1],
  ])("in %s decides how long to wait", async (_, value, min, max) => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("patch", () => answeringBusy(value())),
    });
    const client = clientOf(registry, {
      onRetry: () => client.abort.abort(new PushError("INTERRUPTED", "Seen enough.")),
    });
    expect((await rejection(upload(client, FOUR_CHUNKS))).code).toBe("INTERRUPTED");
    expect(client.seenRetries).toHaveLength(1);
    expect(client.seenRetries[0]?.delayMs).toBeWithin(min, max + 1);
    expect(registry.recorded("patch")).toHaveLength(1);
  });

  function answeringBusy(retryAfter: string): Response {
    return new Response(null, { status: 429, headers: { "retry-after": retryAfter } });
  }
});

test("an interruption ends an upload at once", async () => {
  let interrupt = () => {};
  await using registry = await startTestRegistry({
    intercept: faultAt("patch", [2], async (request) => {
      await request.body?.getReader().read();
      interrupt();
      return new Promise(() => {});
    }),
  });
  const client = clientOf(registry);
  interrupt = () => client.abort.abort(new PushError("INTERRUPTED", "Stop."));
  expect((await rejection(upload(client, FOUR_CHUNKS))).code).toBe("INTERRUPTED");
  expect(registry.recorded("patch").map(({ status }) => status)).toEqual([202]);
});
