import { setTimeout as sleep } from "node:timers/promises";

/** How often and how patiently a request is repeated. */
export type Retries = {
  /** Tries after the first one. */
  readonly count: number;
  /** The wait before the first retry. It doubles from one retry to the next. */
  readonly baseDelayMs: number;
};

export type Retry = { readonly error: unknown; readonly attempt: number; readonly delayMs: number };

/** Belongs to one request, not to the registry. */
export type Call = {
  /** Ends the request, or the wait before its retry, at once. */
  readonly signal: AbortSignal;
  /** Called before each wait: a user wants to know why nothing moves. */
  readonly onRetry: (retry: Retry) => void;
};

/** No wait of our own choice is longer. A server may ask for more. */
const MAX_DELAY_MS = 30_000;

/** A longer `Retry-After` is a failure. */
const MAX_REQUESTED_MS = 15 * 60_000;

/** Runs something until it succeeds. Throws its error where that is not retryable, or was the last of the retries. */
export async function retry<T>(
  retries: Retries,
  isRetryable: (error: unknown) => boolean,
  retryAfterMs: (error: unknown) => number,
  attempt: () => Promise<T>,
  call: Call,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      call.signal.throwIfAborted();
      if (failures > retries.count || !isRetryable(error)) throw error;
      await backOff(retries, failures, error, retryAfterMs(error), call);
    }
  }
}

/**
 * Waits before the next try: twice as long each time, less a random part so that parallel uploads do not come back
 * all at once, and never shorter than the server asked for.
 *
 * @param requestedMs the server's `Retry-After`. `error` is thrown if it is longer than a quarter of an hour
 */
export async function backOff(
  retries: Retries,
  failures: number,
  error: unknown,
  requestedMs: number,
  { signal, onRetry }: Call,
): Promise<void> {
  const ceiling = Math.min(retries.baseDelayMs * 2 ** (failures - 1), MAX_DELAY_MS);
  if (requestedMs > MAX_REQUESTED_MS) throw error;
  const delayMs = Math.max(requestedMs, Math.round(ceiling * (0.5 + Math.random() / 2)));
  onRetry({ error, attempt: failures, delayMs });
  await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
}
