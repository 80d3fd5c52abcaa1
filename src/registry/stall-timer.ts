import { PushError } from "../errors.ts";
import { formatDuration } from "../format.ts";

/** Ends a request in which nothing moves any more. */
export type StallTimer = Disposable & {
  readonly signal: AbortSignal;
  /** Says that something moved. */
  moved(): void;
};

/** Starts to watch. A time limit for a whole request would be wrong for every size of body but one. */
export function stallTimer(timeoutMs: number, what: string): StallTimer {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(
      new PushError("STALLED", `${what} stalled: nothing moved for ${formatDuration(timeoutMs)}.`),
    );
  }, timeoutMs);
  return {
    signal: controller.signal,
    moved: () => void timer.refresh(),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
