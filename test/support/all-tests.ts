import { test } from "bun:test";

/** Whether long tests run whole, as `npm test -- --all` and CI have it. A part of each runs otherwise. */
export const RUNS_ALL = process.env["CHUNKPUSH_TESTS"] === "all";

/** Makes a `test` for one of several describes alike: without all tests, each takes its turn at what all of them show. */
export function testInTurn(turn: number, of: number) {
  let next = 0;
  return (title: string, run: () => Promise<void>): void => {
    if (RUNS_ALL || next++ % of === turn % of) test(title, run);
  };
}
