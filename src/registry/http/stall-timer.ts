import { PushError } from "../../errors.ts";
import { formatDuration } from "../../format.ts";

/**
 * Makes a timer that aborts a request in which nothing moves any more. A time limit for a whole request would fit no
 * more than one size of body.
 *
 * @param what the request, for the message
 */
export function stallTimer(what: string) {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let hasEnded = false;
  return {
    signal: controller.signal,
    /** Starts the timer anew: something moved, or is waited for from now on. */
    restart(timeoutMs: number) {
      clearTimeout(timer);
      // A body may still be on its way when its answer is read.
      if (hasEnded) return;
      timer = setTimeout(() => {
        controller.abort(
          new PushError("STALLED", `${what} stalled: nothing moved for ${formatDuration(timeoutMs)}.`),
        );
      }, timeoutMs);
    },
    /** Stops the timer for good. */
    stop() {
      hasEnded = true;
      clearTimeout(timer);
    },
  };
}
