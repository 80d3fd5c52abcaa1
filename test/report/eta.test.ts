/**
 * The time that is left, over recorded pushes: the events of real ones, with their times, through a link of 3 or 4 MB/s
 * that dev/faults makes. A recording has no clock in it, so nothing here depends on the machine.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { PushEvent } from "../../src/report/events.ts";
import { applyEvent, newState } from "../../src/report/state.ts";
import { totalsOf } from "../../src/report/totals.ts";

type Recorded = readonly [ms: number, event: PushEvent];

const STEP_MS = 100;

/** The registry takes as long for the last blob and the manifest, of which no byte count tells. */
const CLOSING_MS = 1500;

async function recorded(name: string): Promise<Recorded[]> {
  const text = await Bun.file(join(import.meta.dir, "recorded", `${name}.ndjson`)).text();
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test.each(["one-at-a-time", "large-layers", "many-layers"])(
  "From 10 % of the bytes on, the time left of a recorded push is right within a third: %s",
  async (name) => {
    const events = await recorded(name);
    const [endMs] = events.at(-1) ?? [0];
    const state = newState();
    const wrong: string[] = [];
    let told = 0;
    let due = 0;
    for (const [atMs, event] of events) {
      for (; due < atMs; due += STEP_MS) {
        const { doneBytes, totalBytes, leftMs } = totalsOf(state, due);
        if (totalBytes === 0 || doneBytes < totalBytes / 10) continue;
        told++;
        const actualMs = endMs - due;
        const isRight = leftMs !== undefined && Math.abs(leftMs - actualMs) <= actualMs / 3 + CLOSING_MS;
        if (!isRight) wrong.push(`at ${due} ms: ${leftMs} ms, but it took ${actualMs} ms`);
      }
      applyEvent(state, event, atMs);
    }
    expect(wrong).toEqual([]);
    expect(told).toBeGreaterThan(80);
  },
);
