import { PushError } from "../../errors.ts";
import { formatDuration } from "../../format.ts";

/** Ends a request in which nothing moves any more. */
export type StallTimer = Disposable & {
  readonly signal: AbortSignal;
  /** Says that something moved, and how long the next may take. */
  moved(nextTimeoutMs: number): void;
};

/** Starts to watch. A time limit for a whole request would be wrong for every size of body but one. */
export function stallTimer(firstTimeoutMs: number, what: string): StallTimer {
  const controller = new AbortController();
  const wait = (timeoutMs: number) =>
    setTimeout(() => {
      controller.abort(
        new PushError("STALLED", `${what} stalled: nothing moved for ${formatDuration(timeoutMs)}.`),
      );
    }, timeoutMs);
  let timer = wait(firstTimeoutMs);
  return {
    signal: controller.signal,
    moved(nextTimeoutMs) {
      clearTimeout(timer);
      timer = wait(nextTimeoutMs);
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
