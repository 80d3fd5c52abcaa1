import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, PushError } from "./errors.ts";
import { formatDuration } from "./format.ts";

/** How often and how patiently a request is repeated. */
export type Retries = {
  /** Tries after the first one. */
  readonly count: number;
  /** The wait before the first retry. It doubles from one retry to the next. */
  readonly baseDelayMs: number;
};

export type Retry = {
  readonly error: unknown;
  readonly attempt: number;
  /** The most attempts for this question. Fewer than the user's where the answer matters less. */
  readonly retries: number;
  readonly delayMs: number;
};

/** The part of a request's options that does not belong to the registry. */
export type Call = {
  /** Ends the request, or the wait before its retry, at once. */
  readonly signal: AbortSignal;
  /** Called before each wait: a user wants to know why nothing moves. */
  readonly onRetry: (retry: Retry) => void;
};

/** No wait of our own choice is longer. A server may ask for more. */
const MAX_DELAY_MS = 30_000;

/** All waits together that a server may ask for between two steps of progress. */
const MAX_REQUESTED_MS = 10 * 60_000;

/** Counts failures since the last progress. */
export type Failures = {
  /** Failed tries in a row. */
  readonly count: number;
  /** The waits together that the server asked for. */
  readonly requestedMs: number;
};

export const NO_FAILURES: Failures = { count: 0, requestedMs: 0 };

/** Runs something until it succeeds. Throws its error where that is not retryable, or was the last of the retries. */
export async function retry<T>(
  retries: Retries,
  isRetryable: (error: unknown) => boolean,
  retryAfterMs: (error: unknown) => number,
  attempt: () => Promise<T>,
  call: Call,
): Promise<T> {
  for (let failures = NO_FAILURES; ; ) {
    try {
      return await attempt();
    } catch (error) {
      call.signal.throwIfAborted();
      if (failures.count >= retries.count || !isRetryable(error)) throw error;
      failures = await backOff(retries, failures, error, retryAfterMs(error), call);
    }
  }
}

/**
 * Waits before the next try: twice as long each time, less a random part so that parallel uploads do not come back
 * all at once, and never shorter than the server asked for.
 *
 * @param failures the earlier ones
 * @param requestedMs the server's `Retry-After`. `STALLED` is thrown at once where it makes ten minutes too many
 * @returns all failures
 */
export async function backOff(
  retries: Retries,
  failures: Failures,
  error: unknown,
  requestedMs: number,
  { signal, onRetry }: Call,
): Promise<Failures> {
  const ceiling = Math.min(retries.baseDelayMs * 2 ** failures.count, MAX_DELAY_MS);
  const all = { count: failures.count + 1, requestedMs: failures.requestedMs + requestedMs };
  if (all.requestedMs > MAX_REQUESTED_MS) {
    throw new PushError(
      "STALLED",
      `${messageOf(error)} The server asks to wait for ${formatDuration(requestedMs)}. A push waits for ${formatDuration(MAX_REQUESTED_MS)} at most without progress.`,
      { hint: "Run the same command again later.", cause: error },
    );
  }
  const delayMs = Math.max(requestedMs, Math.round(ceiling * (0.5 + Math.random() / 2)));
  onRetry({ error, attempt: all.count, retries: retries.count, delayMs });
  await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  return all;
}
