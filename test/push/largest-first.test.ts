import { describe, expect, test } from "bun:test";
import { largestFirst } from "../../src/push/largest-first.ts";

/** Work that notes its size when it starts, and ends when it is told to. */
function startLog() {
  const started: number[] = [];
  const ends: (() => void)[] = [];
  const work = (size: number) => () => {
    started.push(size);
    const { promise, resolve } = Promise.withResolvers<void>();
    ends.push(resolve);
    return promise.then(() => size);
  };
  return { started, work, endOldest: () => ends.shift()?.() };
}

const atOnce = async () => {};

describe("work in turns", () => {
  test("runs the largest first, of all that waits when a choice is made", async () => {
    const log = startLog();
    const settled = Promise.withResolvers<void>();
    const run = largestFirst(1, () => settled.promise);
    const first = [1, 3, 2].map((size) => run(size, log.work(size)));
    expect(log.started).toEqual([]);
    settled.resolve();
    await Bun.sleep(0);
    expect(log.started).toEqual([3]);
    const later = run(9, log.work(9));
    log.endOldest();
    expect(await first[1]).toBe(3);
    await Bun.sleep(0);
    expect(log.started).toEqual([3, 9]);
    for (let i = 0; i < 3; i++) {
      log.endOldest();
      await Bun.sleep(0);
    }
    expect(log.started).toEqual([3, 9, 2, 1]);
    expect(await Promise.all([...first, later])).toEqual([1, 3, 2, 9]);
  });

  test("runs so many at a time, and equal ones in the order in which they came", async () => {
    const log = startLog();
    const run = largestFirst(2, atOnce);
    const all = [5, 5, 5].map((size, i) => run(size, log.work(size + i / 10)));
    await Bun.sleep(0);
    expect(log.started).toEqual([5, 5.1]);
    log.endOldest();
    await all[0];
    await Bun.sleep(0);
    expect(log.started).toEqual([5, 5.1, 5.2]);
  });

  test("that fails rejects its own promise, and the next item has its turn", async () => {
    const run = largestFirst(1, atOnce);
    const failing = run(2, () => Promise.reject(new Error("lost")));
    const next = run(1, async () => "sent");
    await expect(failing).rejects.toThrow("lost");
    expect(await next).toBe("sent");
  });
});
