import { PushError, RESUME } from "../../errors.ts";
import { formatDuration } from "../../format.ts";

/**
 * Creates a timer that aborts a stalled request. A time limit for the whole request would fit only one size of body.
 *
 * @param what the request, for the message
 */
export function stallTimer(what: string) {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: controller.signal,
    /**
     * Restarts the timer: a byte moved, or a wait begins.
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
    /** Stops the timer: no wait is running. */
    stop: () => clearTimeout(timer),
  };
}

export type StallTimer = ReturnType<typeof stallTimer>;
