import { setImmediate } from "node:timers/promises";

/** Limits the number of concurrent tasks. */
export type Slots = {
  /** Runs a task when a slot is free. The highest priority goes first, then the oldest. */
  run<T>(priority: number, work: (turn: Turn) => Promise<T>): Promise<T>;
  /** Returns the number of slots that the running and waiting tasks use, at least one. */
  busy(): number;
  /** Sets the most slots to use from now on: at least one, at most all. */
  allow(count: number): void;
  /** Reports that the server is overloaded. From the second report in a row on, halves the number of used slots. */
  overloaded(): void;
  /** Reports a success. Adds one slot, up to the allowed number. */
  recovered(): void;
};

/** A slot that work holds. */
export type Turn = {
  /** Waits between two requests while more tasks are running than slots may be used. */
  pass(): Promise<void>;
  /** Waits for a promise, and frees the slot meanwhile. */
  idle<T>(work: Promise<T>): Promise<T>;
};

/** One overload may be a coincidence. */
const OVERLOADS_BEFORE_SLOWING = 2;

/**
 * Creates slots for at most `most` concurrent tasks.
 *
 * @param settled awaited before each choice, so that a task with a higher priority can arrive
 */
export function slots(most: number, settled: () => Promise<unknown> = async () => {}): Slots {
  const waiting: { readonly priority: number; readonly start: () => Promise<void> }[] = [];
  /** Tasks that have begun and wait in `pass`. They continue before others begin. */
  const paused: (() => void)[] = [];
  let allowed = most;
  let width = most;
  let overloads = 0;
  let taken = 0;
  let isChoosing = false;

  function fill(): void {
    while (taken < width && paused.length > 0) {
      taken++;
      paused.shift()?.();
    }
    if (taken < width && waiting.length > 0 && !isChoosing) void choose();
  }

  /** Fills the slots that are free once everything has settled. */
  async function choose(): Promise<void> {
    isChoosing = true;
    await settled().catch(() => undefined);
    isChoosing = false;
    while (taken < width && waiting.length > 0) {
      const next = waiting.reduce((best, each) => (each.priority > best.priority ? each : best));
      waiting.splice(waiting.indexOf(next), 1);
      taken++;
      void next.start().finally(() => {
        taken--;
        fill();
      });
    }
  }

  function queue(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    paused.push(resolve);
    taken--;
    fill();
    return promise;
  }

  const turn: Turn = {
    async pass() {
      if (taken + paused.length > width) await queue();
    },
    async idle(work) {
      taken--;
      fill();
      try {
        return await work;
      } finally {
        taken++;
        if (taken > width) await queue();
      }
    },
  };

  return {
    run: (priority, work) =>
      new Promise((resolve, reject) => {
        waiting.push({ priority, start: () => Promise.try(work, turn).then(resolve, reject) });
        fill();
      }),
    busy: () => Math.max(1, Math.min(width, taken + paused.length + waiting.length)),
    allow(count) {
      allowed = Math.max(1, Math.min(count, most));
      width = Math.min(width, allowed);
    },
    overloaded() {
      if (++overloads >= OVERLOADS_BEFORE_SLOWING) width = Math.max(1, Math.floor(width / 2));
    },
    recovered() {
      overloads = 0;
      width = Math.min(width + 1, allowed);
      fill();
    },
  };
}

/** The number of concurrent HEAD requests: they are small, and an image may have a hundred layers. */
const QUESTIONS = 16;

/**
 * Creates a registry's limits. Uploads wait for running questions, so that the largest missing blob goes first.
 *
 * @param parallel the number of concurrent uploads. With one, questions and uploads share its slot
 */
export function registrySlots(parallel: number) {
  const questions = new Set<Promise<unknown>>();
  // Let continuations of the last answer queue their uploads first.
  const oneSlot = slots(1, () => setImmediate());
  if (parallel === 1) return { asking: oneSlot, questions, sending: oneSlot };
  const sending = slots(parallel, async () => {
    while (questions.size > 0) await Promise.all(questions);
    await setImmediate();
  });
  return { asking: slots(QUESTIONS), questions, sending };
}
