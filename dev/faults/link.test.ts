import { expect, test } from "bun:test";
import { BodyBroken } from "./http-body.ts";
import { type Clock, sharedLink } from "./link.ts";

/** Time goes by only where somebody sleeps, and goes to the latest hour that anybody slept until. */
function sleepersClock(): Clock {
  let time = 0;
  return {
    now: () => time,
    async sleep(ms) {
      const until = time + ms;
      await Promise.resolve();
      time = Math.max(time, until);
    },
  };
}

async function* body(...pieces: readonly number[]): AsyncGenerator<Buffer> {
  for (const bytes of pieces) yield Buffer.alloc(bytes, 1);
}

async function carried(pieces: AsyncGenerator<Buffer>): Promise<number> {
  let bytes = 0;
  for await (const piece of pieces) bytes += piece.length;
  return bytes;
}

test("A slow link shares its rate among bodies that pass at the same time", async () => {
  const clock = sleepersClock();
  const { carry } = sharedLink({ bytesPerSecond: 1_000_000, latencyMs: 0 }, clock);
  const both = await Promise.all([carried(carry(body(70_000, 30_001))), carried(carry(body(200_000)))]);
  expect(both).toEqual([100_001, 200_000]);
  expect(clock.now()).toBeCloseTo(300.001, 3);
});

test("A slow link does not make up for idle time", async () => {
  const clock = sleepersClock();
  const { carry } = sharedLink({ bytesPerSecond: 1_000_000, latencyMs: 0 }, clock);
  await carried(carry(body(50_000)));
  await clock.sleep(1000);
  await carried(carry(body(50_000)));
  expect(clock.now()).toBeCloseTo(1100, 3);
});

test("Each reset of a slow link breaks one body, at its byte", async () => {
  const link = sharedLink({ bytesPerSecond: 1e9, latencyMs: 0, resetsAt: [250_000, 100] }, sleepersClock());
  const bodies = [101, 100_000, 200_000, 200_000].map((bytes) => () => carried(link.carry(body(bytes))));
  const ends = [];
  for (const each of bodies) ends.push(await each().catch((error: unknown) => error));
  expect(ends).toEqual([expect.any(BodyBroken), 100_000, expect.any(BodyBroken), 200_000]);
});
