/** Uploads of blobs whose bytes still come, as from an engine or from a client of a proxy. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError } from "../../src/errors.ts";
import { linkRate } from "../../src/registry/upload/link-rate.ts";
import { sendUpload } from "../../src/registry/upload/send-blob.ts";
import {
  answering,
  answerLost,
  brokenBody,
  faultAlways,
  faultAt,
  sessionDeleted,
  sessionKilled,
  unavailable,
} from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientOf, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, MAX_CHUNK, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";
import { type GrowingBlob, growingBlob } from "./growing-blob.ts";

const BYTES = seededBytes(3 * MAX_CHUNK + 1500, 81);

/** Adds bytes in small pieces, with the pauses of a slow source. */
async function fill(blob: GrowingBlob, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let start = 0; start < bytes.length; start += 1000) {
    blob.add(bytes.slice(start, start + 1000));
    await Bun.sleep(1);
  }
}

/** Lets a blob grow to these bytes, and end, while it is sent. */
async function sendGrowing(client: ReturnType<typeof clientOf>, bytes: Uint8Array<ArrayBuffer>) {
  const blob = growingBlob();
  const sending = upload(client, blob);
  const [sent] = await Promise.all([sending, fill(blob, bytes).then(() => blob.finish())]);
  return sent;
}

const story = (registry: TestRegistry) =>
  registry.requests.map(({ method, status }) => `${method} ${status}`);

async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

describe("a growing blob", () => {
  test.each([0, 1, 100, MAX_CHUNK - 1, MAX_CHUNK])("of %d bytes goes up in one PUT", async (size) => {
    await using registry = await startTestRegistry();
    const bytes = seededBytes(size, size);
    const { descriptor, sentBytes, resumedBytes } = await sendGrowing(clientOf(registry), bytes);
    expect(story(registry)).toEqual(["POST 202", "PUT 201"]);
    expect(registry.recorded("close-upload")).toMatchObject([{ contentLength: size, bodyBytes: size }]);
    expect({ size: descriptor.size, sentBytes, resumedBytes }).toEqual({
      size,
      sentBytes: size,
      resumedBytes: 0,
    });
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  });

  test.each([MAX_CHUNK + 1, 2 * MAX_CHUNK - 1, 2 * MAX_CHUNK, 2 * MAX_CHUNK + 1, BYTES.length])(
    "of %d bytes goes up in equal PATCHes and an empty PUT",
    async (size) => {
      await using registry = await startTestRegistry();
      const bytes = seededBytes(size, size);
      const { descriptor } = await sendGrowing(clientOf(registry), bytes);
      const count = Math.ceil(size / MAX_CHUNK);
      expect(story(registry)).toEqual(["POST 202", ...Array(count).fill("PATCH 202"), "PUT 201"]);
      await expectStored(registry, { descriptor, content: new Blob([bytes]) });
    },
  );

  test("goes up while its bytes come", async () => {
    await using registry = await startTestRegistry();
    const progress: number[] = [];
    const blob = growingBlob();
    const sending = upload(clientOf(registry), blob, { onProgress: (bytes) => progress.push(bytes) });
    blob.add(BYTES.slice(0, 2 * MAX_CHUNK + 1));
    await waitFor(() => registry.recorded("patch").length === 2);
    expect(registry.recorded("close-upload")).toEqual([]);
    blob.add(BYTES.slice(2 * MAX_CHUNK + 1));
    blob.finish();
    const { descriptor } = await sending;
    expect(progress.at(-1)).toBe(BYTES.length);
    await expectStored(registry, { descriptor, content: new Blob([BYTES]) });
  });

  test("goes in chunks of which 10,000 make 5 GiB", async () => {
    await using registry = await startTestRegistry({ minChunkBytes: 1, maxChunkBytes: 1_000_000 });
    const blob = growingBlob();
    const sending = upload(clientOf(registry), blob, { chunkBytes: 2 });
    blob.add(seededBytes(600_000, 82));
    blob.finish();
    await sending;
    expect(registry.recorded("patch")[0]?.contentLength).toBe(Math.ceil((5 * 1024 ** 3) / 10_000));
  });

  test("is checked by its guard before the last piece", async () => {
    await using registry = await startTestRegistry();
    const ends: number[] = [];
    const blob = growingBlob();
    const guard = { pass: (end: number) => void ends.push(end), verify: async () => {} };
    const sending = upload(clientOf(registry), { ...blob, guard });
    blob.add(BYTES);
    blob.finish();
    await sending;
    expect(ends).toEqual([MAX_CHUNK, 2 * MAX_CHUNK, 3 * MAX_CHUNK, BYTES.length]);
  });
});

describe("a growing blob", () => {
  test.each<[string, Intercept]>([
    ["an answer of 503", faultAt("patch", [2], unavailable)],
    ["a connection cut in the middle", faultAt("patch", [2], brokenBody)],
    ["connections cut in the middle, with progress in between", faultAt("patch", [1, 3, 5, 7], brokenBody)],
    ["a lost answer", faultAt("patch", [2], answerLost)],
    ["the lost answers of all chunks", faultAlways("patch", answerLost)],
    ["a forgotten session: it begins anew", faultAt("patch", [3], sessionDeleted)],
    ["a session that died: it begins anew", faultAt("close-upload", [1], sessionKilled)],
    ["a lost answer to the closing PUT", faultAt("close-upload", [1], answerLost)],
  ])("survives %s", async (_, intercept) => {
    await using registry = await startTestRegistry({ intercept });
    const { descriptor } = await sendGrowing(clientOf(registry), BYTES);
    await expectStored(registry, { descriptor, content: new Blob([BYTES]) });
  });

  test.each<[string, Intercept]>([
    ["an answer of 503", unavailable],
    ["a connection cut in the middle", brokenBody],
    ["a lost answer", answerLost],
  ])("survives %s to its only PUT", async (_, fault) => {
    await using registry = await startTestRegistry({ intercept: faultAt("close-upload", [1], fault) });
    const bytes = seededBytes(3000, 83);
    const { descriptor } = await sendGrowing(clientOf(registry), bytes);
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  });

  test("survives an unannounced body limit, in smaller chunks", async () => {
    const limits = { chunkHints: false, minChunkBytes: 1, maxBodyBytes: 300_000 };
    await using registry = await startTestRegistry(limits);
    const bytes = seededBytes(1_000_000, 84);
    const blob = growingBlob();
    const sending = upload(clientOf(registry), blob, { chunkBytes: 700_000 });
    blob.add(bytes);
    blob.finish();
    const { descriptor } = await sending;
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  });

  test("survives a registry that takes no chunks: it goes whole once it has ended", async () => {
    const limits = { chunkHints: false, minChunkBytes: 1, maxBodyBytes: 10_000_000 };
    const intercept = faultAlways("patch", answering(405));
    await using registry = await startTestRegistry({ ...limits, intercept });
    const client = clientOf(registry);
    const bytes = seededBytes(700_000, 85);
    for (const requests of [
      ["POST", "PATCH", "DELETE", "POST", "PUT"],
      ["POST", "PUT"],
    ]) {
      const before = registry.requests.length;
      const blob = growingBlob();
      const sending = upload(client, blob, { chunkBytes: 540_000 });
      blob.add(bytes);
      await Bun.sleep(20);
      expect(registry.recorded("close-upload").length).toBe(before === 0 ? 0 : 1);
      blob.finish();
      const { descriptor } = await sending;
      expect(registry.requests.slice(before).map(({ method }) => method)).toEqual(requests);
      await expectStored(registry, { descriptor, content: new Blob([bytes]) });
    }
  });
});

describe("a growing blob in chunks of what is there", () => {
  const MIB = 1024 * 1024;
  const LEAST = 5 * MIB;
  const FREE = { maxBodyBytes: 100 * MIB, profile: "distribution-3" } as const;
  const sizes = (registry: TestRegistry) =>
    registry.recorded("patch").map(({ contentLength }) => contentLength);

  /** Adds steps of bytes, the next one when the chunk of the last one has arrived. */
  async function sendInSteps(
    registry: TestRegistry,
    steps: readonly number[],
    client = clientOf(registry, { link: linkRate(100 * MIB) }),
  ) {
    const total = steps.reduce((sum, step) => sum + step, 0);
    const bytes = seededBytes(total, total);
    const blob = growingBlob();
    const sending = upload(client, blob);
    let start = 0;
    for (const [i, step] of steps.entries()) {
      blob.add(bytes.slice(start, start + step));
      start += step;
      if (i < steps.length - 1) await waitFor(() => registry.recorded("patch").length === i + 1);
    }
    blob.finish();
    const { descriptor, sentBytes } = await sending;
    expect(sentBytes).toBe(total);
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  }

  test("waits for 5 MiB at least, which a fast link wants no smaller", async () => {
    await using registry = await startTestRegistry(FREE);
    // A byte more tells that a chunk is not the last one.
    await sendInSteps(registry, [6 * MIB, LEAST + 1, 7 * MIB, 3000]);
    expect(sizes(registry)).toEqual([6 * MIB, LEAST + 1, 7 * MIB, 3000]);
  });

  test("goes in equal chunks to serverless-registry, whatever is there", async () => {
    await using registry = await startTestRegistry({ minChunkBytes: LEAST, maxChunkBytes: 8 * MIB });
    const bytes = seededBytes(20 * MIB, 86);
    const blob = growingBlob();
    const sending = upload(clientOf(registry, { link: linkRate(100 * MIB) }), blob);
    for (let start = 0; start < bytes.length; start += 6 * MIB) {
      blob.add(bytes.slice(start, start + 6 * MIB));
      await Bun.sleep(1);
    }
    blob.finish();
    const { descriptor } = await sending;
    expect(sizes(registry)).toEqual([8 * MIB, 8 * MIB, 4 * MIB]);
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  });

  test("survives a forgotten session in the middle: it begins anew from what is there", async () => {
    await using registry = await startTestRegistry({
      ...FREE,
      intercept: faultAt("patch", [3], sessionDeleted),
    });
    const bytes = seededBytes(18 * MIB, 87);
    const blob = growingBlob();
    const sending = upload(clientOf(registry, { link: linkRate(100 * MIB) }), blob);
    for (const [start, end] of [
      [0, 6],
      [6, 12],
    ] as const) {
      blob.add(bytes.slice(start * MIB, end * MIB));
      await waitFor(() => registry.recorded("patch").length === end / 6);
    }
    blob.add(bytes.slice(12 * MIB));
    await waitFor(() => registry.recorded("start-upload").length === 2);
    blob.finish();
    const { descriptor } = await sending;
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  });

  test("survives a body limit that shows in the middle, in smaller chunks from the start", async () => {
    const tooLarge = answering(413);
    let patches = 0;
    const intercept: Intercept = (request, kind, answer) => {
      if (kind !== "patch" || ++patches === 1) return undefined;
      const size = Number(request.headers.get("content-length"));
      return size > 2 * MIB ? tooLarge(request, kind, answer) : undefined;
    };
    await using registry = await startTestRegistry({ ...FREE, intercept });
    const bytes = seededBytes(14 * MIB, 88);
    const blob = growingBlob();
    const sending = upload(clientOf(registry, { link: linkRate(100 * MIB) }), blob);
    blob.add(bytes.slice(0, 6 * MIB));
    await waitFor(() => registry.recorded("patch").length === 1);
    blob.add(bytes.slice(6 * MIB));
    blob.finish();
    const { descriptor } = await sending;
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
    expect(
      Math.max(
        ...sizes(registry)
          .slice(-3)
          .map((size) => size ?? 0),
      ),
    ).toBeLessThanOrEqual(2 * MIB);
  });

  test("starts again although a blob that would measure the link waits for its slot", async () => {
    const other = blobOf(seededBytes(6 * MIB, 89));
    const bytes = seededBytes(6 * MIB, 90);
    const blob = growingBlob();
    const limits = { ...FREE, maxBodyBytes: 2 * MIB };
    let posts = 0;
    const intercept: Intercept = async (_, kind) => {
      if (kind !== "start-upload" || ++posts !== 2) return undefined;
      // The growing blob wants its slot back now.
      blob.add(bytes);
      blob.finish();
      await Bun.sleep(20);
      return undefined;
    };
    await using registry = await startTestRegistry({ ...limits, intercept });
    const client = clientOf(registry, { parallel: 1 });
    const growing = upload(client, blob);
    await waitFor(() => registry.recorded("start-upload").length === 1);
    await upload(client, other);
    const { descriptor } = await growing;
    await expectStored(registry, { descriptor, content: new Blob([bytes]) });
  }, 10_000);

  test("is refused where serverless-registry could not put it together, before a byte too many", async () => {
    const GIB = 1024 ** 3;
    const requests: string[] = [];
    await using server = startHttpServer((request) => {
      requests.push(request.method);
      return new Response(null, { status: 204 });
    });
    const client = clientOf(server);
    const location = new URL(`${server.url}/v2/team/app/blobs/uploads/1?_stateHash=2`);
    const begun = (offset: number) => ({
      session: { location, offset },
      chunkBytes: LEAST,
      limits: { minBytes: LEAST, maxBytes: undefined },
    });
    // Its bytes before the offset are at the registry.
    const blob = (offset: number) => {
      const { slice, ...rest } = growingBlob();
      return {
        ...rest,
        grows: true,
        slice: async (from: number, to: number) => {
          expect(from).toBe(offset);
          return new Blob([new Uint8Array(to - from)]);
        },
      };
    };
    const { signal, onRetry } = client;
    const options = { signal, onRetry, chunkBytes: undefined, onProgress: () => {} };
    const offset = 5 * GIB - LEAST + 1;
    const sending = client.registry.sending.run(0, (turn) =>
      sendUpload(client, blob(offset), begun(offset), options, turn),
    );
    expect(await rejection(sending)).toMatchObject({ code: "BLOB_TOO_LARGE" });
    expect(requests).toEqual(["DELETE"]);
  });
});

describe("a growing blob that ends early", () => {
  test("by a failure of its source is cancelled at the registry", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const client = clientOf(registry, { memoryDirectory: folder.path });
    const blob = growingBlob();
    const sending = rejection(upload(client, blob));
    blob.add(BYTES.slice(0, 2 * MAX_CHUNK + 1));
    await waitFor(() => registry.recorded("patch").length === 2);
    // Without a digest nobody could find the upload again.
    expect(await readdir(folder.path)).toEqual([]);
    const failure = new PushError("ENGINE_FAILED", "The engine has died.");
    blob.fail(failure);
    expect(await sending).toBe(failure);
    expect(story(registry)).toEqual(["POST 202", "PATCH 202", "PATCH 202", "DELETE 204"]);
    expect(client.seenRetries).toEqual([]);
  });

  test("is cancelled where the retries ran out: nobody can resume it", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry({ intercept: faultAlways("patch", unavailable) });
    const client = clientOf(registry, { memoryDirectory: folder.path, retries: 1 });
    const blob = growingBlob();
    const sending = rejection(upload(client, blob));
    blob.add(BYTES);
    expect(await sending).toMatchObject({ answer: { status: 503 } });
    expect(story(registry).at(-1)).toBe("DELETE 204");
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("by an interruption ends at once, though no byte comes", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const blob = growingBlob();
    const sending = rejection(upload(client, blob));
    blob.add(BYTES.slice(0, MAX_CHUNK + 1));
    await waitFor(() => registry.recorded("patch").length === 1);
    const reason = new PushError("INTERRUPTED", "Stop.");
    client.abort.abort(reason);
    expect(await sending).toBe(reason);
  });
});
