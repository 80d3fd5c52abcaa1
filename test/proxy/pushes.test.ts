/** Many pushes at once, at a registry where one request of five meets a fault: everything arrives, byte for byte. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { answer, type Fault, redirect, reset, stall } from "../../dev/faults/fault.ts";
import { seededFaults } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { RUNS_ALL } from "../support/all-tests.ts";
import { startTestProxy, type TestProxy } from "../support/proxy.ts";
import { manifestOf, pushBlob, putBlob, putManifest, until } from "../support/proxy-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(120_000);

/** Of the sizes: they matter beside each other alone. */
const UNIT = 256 * 1024;
const PUSHES = 10;
const SHARE = 0.2;

const FAULTS: readonly Fault[] = [
  ...([408, 500, 502, 503, 524] as const).map((status) => answer(status)),
  answer(503, "unread"),
  answer(503, "cut"),
  redirect(),
  stall(),
  ...(["before", "middle", "after"] as const).map((moment) => reset(moment)),
];

/** The base that all images share, and layers of their own. */
const BASE = seededBytes(7 * UNIT, 1);
const imageOf = (i: number) => [
  seededBytes(400 + i, 100 + i),
  BASE,
  seededBytes(3000 * i, 200 + i),
  seededBytes(5 * UNIT + i * 25_000, 300 + i),
];

/** Pushes an image as Docker does, or as containerd: asks, sends what is not there, and publishes. */
async function push(proxy: TestProxy, i: number): Promise<void> {
  const blobs = imageOf(i);
  const send = i % 2 === 0 ? pushBlob : putBlob;
  const all = blobs.map(async (bytes) => {
    const head = await proxy.request(`/v2/team/app/blobs/${digestOf(bytes)}`, { method: "HEAD" });
    if (head.status === 200) return;
    expect((await send(proxy, bytes)).status).toBe(201);
  });
  await Promise.all(all);
  expect((await putManifest(proxy, manifestOf(...blobs), { reference: `v${i}` })).status).toBe(201);
}

describe("ten pushes at once arrive", () => {
  const cases = [
    [undefined, 1],
    ["distribution-2", 2],
    ["distribution-3", 3],
    ["gitea", 4],
    [undefined, 5],
  ] as const;
  test.each(cases.slice(0, RUNS_ALL ? undefined : 2))(
    "at a registry that keeps uploads as %p, with seed %d",
    async (profile, seed) => {
      await using registry = await startTestRegistry({
        minChunkBytes: UNIT,
        maxChunkBytes: 2 * UNIT,
        maxBodyBytes: 100 * UNIT,
        profile,
      });
      await using faults = await startFaultProxy({
        upstreamHost: () => registry.host,
        plan: seededFaults(seed, SHARE, () => FAULTS),
      });
      await using proxy = await startTestProxy(faults, {
        retries: 50,
        stallTimeoutMs: 300,
        spoolLimitBytes: 20 * UNIT,
      });
      await Promise.all(Array.from({ length: PUSHES }, (_, i) => push(proxy, i)));
      expect(await proxy.settled()).toEqual([]);
      expect(faults.requests.filter(({ fault }) => fault !== undefined).length).toBeGreaterThan(10);
      for (let i = 0; i < PUSHES; i++) {
        const blobs = imageOf(i);
        const manifest = await registry.pullManifest("team/app", `v${i}`);
        expect(manifest).toBe(new TextDecoder().decode(manifestOf(...blobs).bytes));
        for (const bytes of blobs) {
          const stored = await registry.pullBlob("team/app", digestOf(bytes));
          expect(Buffer.compare(stored, bytes)).toBe(0);
        }
      }
      await until(async () => (await proxy.spooled()).count === 0);
    },
  );
});
