/** The rate of uploads, and how much of each has arrived, by a clock of the test's own. */
import { expect, test } from "bun:test";
import { measureFlow } from "../../src/report/flow.ts";

const MB = 1_000_000;

test("The first burst of bytes that a connection takes does not count as arrived", () => {
  const flow = measureFlow();
  flow.moved("a", 1, 0, 0);
  flow.moved("a", 5 * MB, 0, 50);
  expect(flow.arrivedBytes("a", 1000)).toBe(0);
  expect(flow.bytesPerSecond(3000)).toBeUndefined();
  flow.moved("a", 5 * MB, 5 * MB, 5000);
  expect(flow.bytesPerSecond(5000)).toBe(MB);
});

test("A running chunk advances at the rate of the confirmed ones, and never past the bytes that were handed over", () => {
  const flow = measureFlow();
  flow.moved("a", 4 * MB, 0, 0);
  flow.moved("a", 4 * MB, 4 * MB, 4000);
  flow.moved("a", 8 * MB, 4 * MB, 4000);
  expect(flow.arrivedBytes("a", 6000)).toBe(6 * MB);
  expect(flow.arrivedBytes("a", 9000)).toBe(8 * MB);
  expect(flow.bytesPerSecond(9000)).toBeLessThan(MB);
});

test("The rate of uploads that run side by side is that of all together", () => {
  const flow = measureFlow();
  for (const id of ["a", "b"]) flow.moved(id, 2 * MB, 0, 0);
  for (const id of ["a", "b"]) flow.ended(id, 2 * MB, 4000);
  expect(Math.round(flow.bytesPerSecond(4000) ?? 0)).toBe(MB);
});

test("The rate does not fall while an upload waits between two chunks", () => {
  const flow = measureFlow();
  flow.moved("a", 2 * MB, 0, 0);
  flow.moved("a", 2 * MB, 2 * MB, 2000);
  flow.moved("b", 2 * MB, 0, 2000);
  flow.ended("b", 2 * MB, 4000);
  expect(Math.round(flow.bytesPerSecond(60_000) ?? 0)).toBe(MB);
});

test("Bytes that the registry has lost no longer count as arrived", () => {
  const flow = measureFlow();
  flow.moved("a", 4 * MB, 0, 0);
  flow.moved("a", 4 * MB, 4 * MB, 4000);
  flow.moved("a", 2 * MB, 2 * MB, 5000);
  expect(flow.arrivedBytes("a", 6000)).toBe(2 * MB);
  flow.ended("a", undefined, 6000);
  expect(flow.arrivedBytes("a", 6000)).toBeUndefined();
});
