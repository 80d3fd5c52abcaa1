import { describe, expect, test } from "bun:test";
import { throttle } from "../../dev/faults/fault.ts";
import { faultAt as planAt } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { connect } from "../../src/registry/connect.ts";
import { linkRate } from "../../src/registry/upload/link-rate.ts";
import { faultAt } from "../support/faults.ts";
import {
  blobOf,
  clientAt,
  clientOf,
  connectOptions,
  upload as send,
  type TestClient,
} from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const MIB = 1024 * 1024;
const SMALL = blobOf(seededBytes(MIB, 51));
const LARGE = blobOf(seededBytes(12 * MIB + 5, 52));

/** What a body goes out in: with `tickingLink`, ten of them take four seconds. */
const PIECE = 256 * 1024;
const SLOW_CHUNK = 10 * PIECE;

/** A registry that leaves room for the choice. */
const startRoomy = (intercept?: Intercept) =>
  startTestRegistry({ maxChunkBytes: 100_000_000, ...(intercept && { intercept }) });

/** A slow link without the wait: its clock moves whenever it is looked at, as with every piece of a body. */
function tickingLink(noted?: number) {
  let ms = 0;
  return linkRate(noted, () => (ms += 400));
}

/** A rate that an earlier push noted, when the link was faster. */
const FAST = 1e9;

const upload = (client: TestClient, blob = LARGE, chunkBytes?: number) => send(client, blob, { chunkBytes });

/** The sizes of the chunks that arrived. All but the last are equal. */
function chunksOf(registry: TestRegistry): number[] {
  const sizes = registry
    .recorded("patch")
    .filter(({ status }) => status === 202)
    .map(({ contentLength }) => contentLength ?? 0);
  expect(new Set(sizes.slice(0, -1)).size).toBeLessThanOrEqual(1);
  expect(sizes.at(-1) ?? 0).toBeLessThanOrEqual(sizes[0] ?? 0);
  return sizes;
}

/** Takes 2 MiB of a body, then breaks the connection. */
const brokenLate: Intercept = async (request) => {
  let readBytes = 0;
  for await (const piece of request.body ?? []) {
    readBytes += piece.length;
    if (readBytes >= 2 * MIB) break;
  }
  return "drop" as const;
};

describe("chunks on a slow link", () => {
  test("are smaller than the registry allows, once the link is known", async () => {
    await using registry = await startRoomy();
    const bytesPerSecond = 400_000;
    await using proxy = await startFaultProxy({
      upstreamHost: () => registry.host,
      plan: planAt("whole-put", 1, throttle(bytesPerSecond)),
    });
    const client = clientOf(proxy);
    await upload(client, SMALL);
    expect(chunksOf(registry)).toEqual([]);
    await upload(client);
    // The link may have been slower than its throttle, but not faster.
    expect(chunksOf(registry)[0]).toBeWithin(MIB, 4 * bytesPerSecond + 1);
    await expectStored(registry, LARGE);
  });

  test("are as large as ever on a fast one", async () => {
    await using registry = await startRoomy();
    const client = clientOf(registry, { link: linkRate(500_000_000) });
    await upload(client);
    expect(chunksOf(registry)).toEqual([]);
    await expectStored(registry, LARGE);
  });

  test("are as large as the user wishes", async () => {
    await using registry = await startRoomy();
    await upload(clientOf(registry, { link: linkRate(10_000) }), LARGE, 5_000_000);
    expect(chunksOf(registry)).toEqual([5_000_000, 5_000_000, LARGE.descriptor.size - 10_000_000]);
  });

  test("follow what the last push noted", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startRoomy();
    await upload(clientOf(registry, { link: tickingLink(), memoryDirectory: folder.path }), SMALL);
    const options = connectOptions(registry, folder.path);
    // Four pieces and the answer.
    const noted = MIB / 2;
    // The user's word needs no note, and leaves the one that is there alone.
    const call = clientOf(registry);
    const wishing = await connect({ ...options, chunkBytes: 4_000_000 }, call);
    expect(wishing.link.bytesPerSecond()).toBeUndefined();
    await upload(clientAt(wishing), blobOf(seededBytes(3 * MIB, 53)), 4_000_000);
    expect(wishing.link.bytesPerSecond()).not.toBe(noted);
    const next = await connect(options, call);
    expect(next.link.bytesPerSecond()).toBe(noted);
    await upload(clientAt(next), blobOf(seededBytes(12 * MIB + 5000, 54)));
    expect(chunksOf(registry)[0]).toBe(4 * noted);
  });
});

describe("a first chunk that was lost", () => {
  test("shows how slow the link is: the blob begins anew in smaller ones", async () => {
    await using registry = await startRoomy(faultAt("close-upload", [1], brokenLate));
    const client = clientOf(registry, { link: tickingLink(FAST), retries: 1 });
    await upload(client);
    expect(chunksOf(registry)[0]).toBe(SLOW_CHUNK);
    expect(client.seenRetries).toHaveLength(1);
    expect(registry.recorded("start-upload")).toHaveLength(2);
    expect(registry.recorded("cancel-upload")).toHaveLength(1);
    await expectStored(registry, LARGE);
  });

  test("is no sign of a body limit when a smaller one is lost next", async () => {
    const whole = faultAt("close-upload", [1], brokenLate);
    const chunk = faultAt("patch", [1], brokenLate);
    await using registry = await startRoomy(
      async (...request) => (await whole(...request)) ?? chunk(...request),
    );
    const client = clientOf(registry, { link: tickingLink(FAST) });
    await upload(client);
    expect(chunksOf(registry)[0]).toBe(SLOW_CHUNK);
    expect(client.registry.learned.maxBodyBytes).toBeUndefined();
    await expectStored(registry, LARGE);
  });

  test("shows how slow the link is in an upload in chunks as well", async () => {
    await using registry = await startTestRegistry({
      maxChunkBytes: 8 * MIB,
      intercept: faultAt("patch", [1], brokenLate),
    });
    await upload(clientOf(registry, { link: tickingLink(FAST) }));
    expect(chunksOf(registry)[0]).toBe(SLOW_CHUNK);
    await expectStored(registry, LARGE);
  });

  test("is sent again as it was where the user wants it so", async () => {
    await using registry = await startRoomy(faultAt("patch", [1], brokenLate));
    await upload(clientOf(registry, { link: tickingLink(FAST) }), LARGE, 8 * MIB);
    expect(chunksOf(registry)).toEqual([8 * MIB, 4 * MIB + 5]);
    expect(registry.recorded("start-upload")).toHaveLength(1);
  });

  test("is sent again as it was on a fast link", async () => {
    await using registry = await startRoomy(faultAt("close-upload", [1], brokenLate));
    await upload(clientOf(registry, { link: linkRate(FAST, () => performance.now() / 1000) }));
    expect(chunksOf(registry)).toEqual([]);
    expect(registry.recorded("start-upload")).toHaveLength(1);
    await expectStored(registry, LARGE);
  });

  test("changes nothing once another chunk is there: they have to be equal", async () => {
    await using registry = await startTestRegistry({
      maxChunkBytes: 5 * MIB,
      intercept: faultAt("patch", [2], brokenLate),
    });
    await upload(clientOf(registry, { link: tickingLink(FAST) }));
    expect(chunksOf(registry)).toEqual([5 * MIB, 5 * MIB, 2 * MIB + 5]);
    await expectStored(registry, LARGE);
  });
});
