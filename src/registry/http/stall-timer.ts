import { PushError } from "../../errors.ts";
import { formatDuration } from "../../format.ts";

/** Aborts a request in which nothing moves any more. */
export type StallTimer = {
  readonly signal: AbortSignal;
  /** Starts the timer anew: something moved, or is waited for from now on. */
  restart(timeoutMs: number): void;
  /** Stops the timer: nothing is waited for. */
  stop(): void;
};

/**
 * Makes a timer, which `restart` starts. A time limit for a whole request would fit no more than one size of body.
 *
 * @param what the request, for the message
 */
export function stallTimer(what: string): StallTimer {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: controller.signal,
    restart(timeoutMs) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        controller.abort(
          new PushError("STALLED", `${what} stalled: nothing moved for ${formatDuration(timeoutMs)}.`),
        );
      }, timeoutMs);
    },
    stop: () => clearTimeout(timer),
  };
}
