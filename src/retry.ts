import { setTimeout as sleep } from "node:timers/promises";

/** How often and how patiently something is tried again. */
export type RetryPolicy = {
  /** Tries after the first one. */
  readonly retries: number;
  /** The wait before the first retry; it doubles from one to the next. */
  readonly baseDelayMs: number;
  /** Ends a wait at once. */
  readonly signal: AbortSignal;
  /** Told before each wait: a user wants to know why nothing moves. */
  readonly onRetry: (retry: Retry) => void;
};

type Retry = {
  readonly error: unknown;
  readonly attempt: number;
  readonly delayMs: number;
  /** What it is about, such as a layer, where it is about one. */
  readonly subject?: string;
};

/** No wait of our own choosing is longer; a server may ask for more. */
const MAX_DELAY_MS = 30_000;

/** A server that wants to be left alone for longer than this is not waited for. */
const MAX_REQUESTED_MS = 15 * 60_000;

/** Runs something until it succeeds, fails for good, or has failed too often: then its last error is thrown. */
export async function retry<T>(
  policy: RetryPolicy,
  isRetryable: (error: unknown) => boolean,
  retryAfterMs: (error: unknown) => number,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      policy.signal.throwIfAborted();
      if (failures > policy.retries || !isRetryable(error)) throw error;
      await backOff(policy, failures, error, retryAfterMs(error));
    }
  }
}

/**
 * Waits before the next try: twice as long each time, less a random part so that parallel uploads do not come back
 * all at once; never shorter than the server asked for.
 *
 * @param requestedMs the server's `Retry-After`; beyond a quarter of an hour, `error` is thrown instead
 */
export async function backOff(
  policy: RetryPolicy,
  failures: number,
  error: unknown,
  requestedMs = 0,
): Promise<void> {
  const ceiling = Math.min(policy.baseDelayMs * 2 ** (failures - 1), MAX_DELAY_MS);
  // Nobody waits for hours in front of a push: then its failure is the better answer.
  if (requestedMs > MAX_REQUESTED_MS) throw error;
  const delayMs = Math.max(requestedMs, Math.round(ceiling * (0.5 + Math.random() / 2)));
  policy.onRetry({ error, attempt: failures, delayMs });
  await sleep(delayMs, undefined, { signal: policy.signal }).catch(() => policy.signal.throwIfAborted());
}
