import { describe, expect, test } from "bun:test";
import { linkRate } from "../../src/registry/upload/link-rate.ts";

const MB = 1_000_000;

/** A link with a clock that stands still unless something is sent, and how bodies go over it. */
function startLink(noted?: number) {
  let ms = 0;
  const link = linkRate(noted, () => ms);
  return {
    ...link,
    /** Sends a body in two halves, and answers at once. */
    send: (bytes: number, seconds: number) =>
      link.timed(async (moved) => {
        ms += seconds * 500;
        moved(bytes / 2);
        ms += seconds * 500;
        moved(bytes);
      }),
    /** Moves some bytes, then is silent, then breaks. */
    lose: (bytes: number, seconds: number, silentSeconds: number) =>
      link
        .timed(async (moved) => {
          ms += seconds * 1000;
          moved(bytes);
          ms += silentSeconds * 1000;
          throw new Error("lost");
        })
        .catch(() => {}),
  };
}

describe("the rate of a link", () => {
  test("is not known before anything was sent", () => {
    expect(startLink().bytesPerSecond()).toBeUndefined();
  });

  test("is at first the one that was noted", async () => {
    const link = startLink(5 * MB);
    expect(link.bytesPerSecond()).toBe(5 * MB);
    await link.send(10 * MB, 10);
    expect(link.bytesPerSecond()).toBe(1 * MB);
  });

  test("is that of bodies, from the first byte to the answer", async () => {
    let ms = 0;
    const link = linkRate(undefined, () => ms);
    await link.timed(async (moved) => {
      moved(10 * MB);
      ms += 5000;
    });
    expect(link.bytesPerSecond()).toBe(2 * MB);
  });

  test("is that of all bodies together", async () => {
    let ms = 0;
    const link = linkRate(undefined, () => ms);
    const end = Promise.withResolvers<void>();
    const other = link.timed(async (moved) => {
      moved(4 * MB);
      await end.promise;
      moved(10 * MB);
    });
    await link.timed(async (moved) => {
      ms += 1000;
      moved(2 * MB);
      end.resolve();
      await other;
    });
    // The other one moved 10 MB in the same second, this one 2 MB, and 6 MB of the other's were in its time.
    expect(link.bytesPerSecond()).toBe(((12 / 2 + 8) * MB) / 1.5);
  });

  test("is not drawn from small bodies", async () => {
    const link = startLink();
    await link.send(1_000_000, 20);
    expect(link.bytesPerSecond()).toBeUndefined();
    await link.send(1024 * 1024, 1);
    expect(link.bytesPerSecond()).toBe(1024 * 1024);
  });

  test("follows the latest bodies", async () => {
    const link = startLink();
    await link.send(100 * MB, 10);
    for (let i = 0; i < 6; i++) await link.send(5 * MB, 10);
    expect(link.bytesPerSecond()).toBeWithin(0.5 * MB, 1.5 * MB);
    for (let i = 0; i < 6; i++) await link.send(100 * MB, 10);
    expect(link.bytesPerSecond()).toBeWithin(9 * MB, 10 * MB);
  });

  test("is drawn from lost bodies, too, for as long as they moved", async () => {
    const link = startLink();
    await link.lose(2 * MB, 8, 60);
    expect(link.bytesPerSecond()).toBe(0.25 * MB);
    await link.lose(0, 0, 60);
    expect(link.bytesPerSecond()).toBe(0.25 * MB);
  });

  test("passes on the answer or the error of the request that it times", async () => {
    expect(await linkRate().timed(async () => "answer")).toBe("answer");
    await expect(linkRate().timed(() => Promise.reject(new Error("lost")))).rejects.toThrow("lost");
  });

  test("is worth saving once, when it has changed", async () => {
    const link = startLink(2 * MB);
    expect(link.shouldSave()).toBe(false);
    await link.send(30 * MB, 10);
    expect(link.shouldSave()).toBe(false);
    await link.send(100 * MB, 10);
    expect(link.shouldSave()).toBe(true);
    expect(link.shouldSave()).toBe(false);
    for (let i = 0; i < 6; i++) await link.send(5 * MB, 10);
    expect(link.shouldSave()).toBe(true);
    expect(startLink().shouldSave()).toBe(false);
  });
});
