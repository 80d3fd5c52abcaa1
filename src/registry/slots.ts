import { setImmediate } from "node:timers/promises";

/** Limits how much work runs at a time. */
export type Slots = {
  /** Runs work when there is room. The waiting work with the highest priority is next, then the oldest. */
  run<T>(priority: number, work: (turn: Turn) => Promise<T>): Promise<T>;
  /** Returns how much work runs at a time, now that so much is under way or waits. */
  busy(): number;
  /** Allows at most so much work at a time from now on, at least one, and never more than there are slots. */
  allow(count: number): void;
  /** Reports that the server is overloaded. From the second time in a row on, that halves the width. */
  overloaded(): void;
  /** Reports a success: the width grows by one, up to what is allowed. */
  recovered(): void;
};

/** A slot that work holds. */
export type Turn = {
  /** Waits between two requests while more work is under way than there are slots. */
  pass(): Promise<void>;
  /** Waits for something, and leaves the slot to others meanwhile. */
  idle<T>(work: Promise<T>): Promise<T>;
};

/** One overload may be a coincidence. */
const OVERLOADS_BEFORE_SLOWING = 2;

/**
 * Makes slots for at most so much work.
 *
 * @param settled awaited before each choice: something with a higher priority may turn up until then
 */
export function slots(most: number, settled: () => Promise<unknown> = async () => {}): Slots {
  const waiting: { readonly priority: number; readonly start: () => Promise<void> }[] = [];
  /** Work that has begun, and waits in `pass`. It goes on before other work begins. */
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

/** HEAD requests at a time: they are small, and an image may have a hundred layers. */
const QUESTIONS = 16;

/**
 * Makes a registry's limits. Uploads wait for questions under way, so that the largest missing blob goes first.
 *
 * @param parallel blobs on their way at a time. With one, questions and uploads follow one another
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
