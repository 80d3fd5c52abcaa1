import { PushError, RESUME } from "../../errors.ts";
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
  return {
    signal: controller.signal,
    /**
     * Starts the timer anew: something moved, or is waited for from now on.
     *
     * @param timeoutMs the whole wait, for the message, if a part of it has passed
     */
    restart(leftMs: number, timeoutMs = leftMs) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        controller.abort(
          new PushError("STALLED", `${what} stalled: no data for ${formatDuration(timeoutMs)}.`, {
            hint: `${RESUME} --stall-timeout sets how long to wait.`,
          }),
        );
      }, leftMs);
    },
    /** Stops the timer: nothing is waited for. */
    stop: () => clearTimeout(timer),
  };
}

export type StallTimer = ReturnType<typeof stallTimer>;
