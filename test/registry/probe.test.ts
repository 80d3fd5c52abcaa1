import { describe, expect, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError } from "../../src/errors.ts";
import { linkRate } from "../../src/registry/upload/link-rate.ts";
import { answering, faultAt } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientOf, type TestClient, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const MIB = 1024 * 1024;
const PROBE = 5 * MIB;
const SMALL = blobOf(seededBytes(300_000, 81));
const LARGE = blobOf(seededBytes(12 * MIB, 82));
const OTHER = blobOf(seededBytes(12 * MIB, 83));

/** A registry that leaves room for the choice. */
const startRoomy = (intercept?: Intercept) =>
  startTestRegistry({ maxChunkBytes: 100_000_000, ...(intercept && { intercept }) });

/** A link that looks a thousand times as fast as it is. */
const fastLink = () => linkRate(undefined, () => performance.now() / 1000);

/** A link that takes 2.5 MiB in four seconds, by a clock that moves with every piece of a body. */
function slowLink() {
  let ms = 0;
  return linkRate(undefined, () => (ms += 400));
}

const sizesOf = (registry: TestRegistry, kind: "patch" | "close-upload") =>
  registry.recorded(kind).map(({ bodyBytes }) => bodyBytes);

/** A registry that takes chunks of any size, one after another, as distribution does. */
function startLenient(onPatch?: () => void) {
  const chunks: number[] = [];
  let begun = 0;
  const server = startHttpServer(async (request) => {
    const { length } = await request.bytes();
    if (request.method === "PATCH") {
      chunks.push(length);
      onPatch?.();
    }
    if (request.method === "POST") begun++;
    const location = `/v2/team/app/blobs/uploads/1?_state=${chunks.length}`;
    const range = `0-${chunks.reduce((sum, bytes) => sum + bytes, 0) - 1}`;
    const headers = { location, range, "oci-chunk-min-length": "1024" };
    return new Response(null, { status: request.method === "PUT" ? 201 : 202, headers });
  });
  return { ...server, chunks, begun: () => begun };
}

describe("an unknown link", () => {
  test("is measured by one upload, while larger blobs wait and smaller ones go on", async () => {
    const { promise: smallIsThere, resolve } = Promise.withResolvers<void>();
    await using registry = await startRoomy(
      faultAt("patch", [1], async () => {
        await smallIsThere;
        return undefined;
      }),
    );
    const client = clientOf(registry, { link: fastLink() });
    const all = [upload(client, LARGE), upload(client, OTHER), upload(client, SMALL).then(() => resolve())];
    await Promise.all(all);
    expect(sizesOf(registry, "patch")).toEqual([PROBE, PROBE, 2 * MIB]);
    expect(sizesOf(registry, "close-upload").sort((a, b) => b - a)).toEqual([12 * MIB, 300_000, 0]);
    await expectStored(registry, LARGE);
    await expectStored(registry, OTHER);
  });

  test("that turns out to be fast lets an upload of many more chunks begin anew", async () => {
    const huge = blobOf(seededBytes(32 * MIB, 84));
    await using registry = await startRoomy();
    await upload(clientOf(registry, { link: fastLink() }), huge);
    const requests = registry.requests.map(({ method, bodyBytes }) => `${method} ${bodyBytes / MIB}`);
    expect(requests).toEqual(["POST 0", "PATCH 5", "DELETE 0", "POST 0", "PUT 32"]);
    await expectStored(registry, huge);
  });

  test("that turns out to be slow lets the next upload have smaller chunks", async () => {
    await using registry = await startRoomy();
    const client = clientOf(registry, { link: slowLink() });
    await upload(client, LARGE);
    await upload(client, OTHER);
    const sizes = sizesOf(registry, "patch");
    expect(sizes.slice(0, 3)).toEqual([PROBE, PROBE, 2 * MIB]);
    expect(sizes[3]).toBeWithin(2 * MIB, 2.5 * MIB);
    expect(registry.recorded("start-upload")).toHaveLength(2);
  });

  test.each([
    ["larger", fastLink, 7 * MIB, 7 * MIB],
    ["smaller", slowLink, 2 * MIB, 2.5 * MIB],
  ])("lets chunks become %s in the same upload, unless it is R2's", async (_, link, least, most) => {
    await using server = startLenient();
    await upload(clientOf(server, { link: link() }), LARGE);
    expect(server.chunks[0]).toBe(PROBE);
    expect(server.chunks[1]).toBeWithin(least, most + 1);
    expect(server.chunks.reduce((sum, bytes) => sum + bytes)).toBe(LARGE.descriptor.size);
    expect(server.begun()).toBe(1);
  });

  test("lets the next process send smaller chunks of the same upload, unless it is R2's", async () => {
    await using folder = await temporaryFolder();
    const abort = new AbortController();
    await using server = startLenient(() => abort.abort(new PushError("INTERRUPTED", "Stop.")));
    const client = () => clientOf(server, { memoryDirectory: folder.path, link: fastLink() });
    await rejection(upload(client(), LARGE, { signal: abort.signal, chunkBytes: PROBE }));
    const { resumedBytes } = await upload(client(), LARGE, { chunkBytes: MIB });
    expect(resumedBytes).toBe(PROBE);
    expect(server.chunks).toEqual([PROBE, MIB, MIB, MIB, MIB, MIB, MIB, MIB]);
    expect(server.begun()).toBe(1);
  });

  test("is measured by the next upload where the first one fails", async () => {
    await using registry = await startRoomy(faultAt("patch", [1], answering(403)));
    const client = clientOf(registry, { link: fastLink() });
    const ends = await Promise.allSettled([upload(client, LARGE), upload(client, OTHER)]);
    expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    await expectStored(registry, ends[0]?.status === "fulfilled" ? LARGE : OTHER);
  });

  test("is not waited for where bodies are too small to measure it", async () => {
    await using registry = await startTestRegistry({
      chunkHints: false,
      minChunkBytes: 1,
      maxBodyBytes: 300_000,
    });
    const client = clientOf(registry, { link: fastLink() });
    await Promise.all([upload(client, LARGE), upload(client, OTHER)]);
    await expectStored(registry, LARGE);
    await expectStored(registry, OTHER);
  });

  test("keeps nobody waiting after an interruption", async () => {
    let client: TestClient | undefined;
    await using registry = await startRoomy(
      faultAt("patch", [1], () => {
        client?.abort.abort(new PushError("INTERRUPTED", "Stop."));
        return new Promise(() => {});
      }),
    );
    client = clientOf(registry, { link: fastLink() });
    const [first, second] = [upload(client, LARGE), upload(client, OTHER)].map(rejection);
    expect([(await first)?.code, (await second)?.code]).toEqual(["INTERRUPTED", "INTERRUPTED"]);
  });
});

describe("a link so slow that not even the smallest chunks of all uploads end in seconds", () => {
  /** A registry that counts how many chunks come at once. */
  function startCounting() {
    const count = { running: 0, most: 0 };
    const registry = startRoomy(async (_request, kind, answer) => {
      if (kind !== "patch") return undefined;
      count.most = Math.max(count.most, ++count.running);
      const response = await answer();
      count.running--;
      return response;
    });
    return { registry, count };
  }

  const BLOBS = [LARGE, OTHER, blobOf(seededBytes(12 * MIB, 85))];

  test("carries one at a time", async () => {
    const { registry: starting, count } = startCounting();
    await using registry = await starting;
    const client = clientOf(registry, { link: linkRate(100_000, () => 0) });
    await Promise.all(BLOBS.map((blob) => upload(client, blob)));
    expect(count.most).toBe(1);
    for (const blob of BLOBS) await expectStored(registry, blob);
  });

  test("carries as many as the user wants in chunks of the user's size", async () => {
    const { registry: starting, count } = startCounting();
    await using registry = await starting;
    const client = clientOf(registry, { link: linkRate(100_000, () => 0) });
    await Promise.all(BLOBS.map((blob) => upload(client, blob, { chunkBytes: MIB })));
    expect(count.most).toBe(BLOBS.length);
  });

  test("carries several again when it has become faster", async () => {
    await using registry = await startRoomy();
    const client = clientOf(registry, { link: linkRate(100_000, () => performance.now() / 1000) });
    const { sending } = client.registry;
    const busy: number[] = [];
    await Promise.all(
      BLOBS.map((blob) => upload(client, blob, { onProgress: () => busy.push(sending.busy()) })),
    );
    expect(Math.min(...busy)).toBe(1);
    expect(Math.max(...busy)).toBe(3);
  });
});
