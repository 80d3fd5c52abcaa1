/** How fast a single body goes to a registry, beside whatever else is on its way. One for all uploads of a push. */
export type LinkRate = {
  /** Of the latest bodies, else what an earlier push noted. Undefined: nobody knows. */
  bytesPerSecond(): number | undefined;
  /** Sends a body and takes its time. One that breaks off counts for as long as something moved. */
  timed<T>(send: (moved: (sentBytes: number) => void) => Promise<T>): Promise<T>;
  /** Whether it is to be noted anew, being another one by half or double. Says so once. */
  takeNews(): boolean;
};

/** The time of a smaller body is that of round trips, and tells nothing of the link. */
export const LEAST_TIMED_BYTES = 1024 * 1024;

/** A rate that varies by less is the same. */
const NEWS_FACTOR = 2;

/**
 * Each body counts as much as all before it: a link changes, and a single body may be bad luck.
 *
 * @param noted by an earlier push, in bytes per second: it counts until there is something newer
 * @param now milliseconds, for tests
 */
export function linkRate(noted?: number, now: () => number = () => performance.now()): LinkRate {
  let known = noted;
  let bytes = 0;
  let ms = 0;

  const bytesPerSecond = () => (ms > 0 ? (bytes / ms) * 1000 : noted);

  function take(sentBytes: number, tookMs: number): void {
    if (sentBytes < LEAST_TIMED_BYTES || tookMs <= 0) return;
    bytes = bytes / 2 + sentBytes;
    ms = ms / 2 + tookMs;
  }

  return {
    bytesPerSecond,
    async timed(send) {
      const startMs = now();
      let sentBytes = 0;
      let movedMs = startMs;
      try {
        const result = await send((moved) => {
          sentBytes = moved;
          movedMs = now();
        });
        movedMs = now();
        return result;
      } finally {
        take(sentBytes, movedMs - startMs);
      }
    },
    takeNews() {
      const rate = bytesPerSecond();
      if (rate === undefined) return false;
      if (known !== undefined && rate < known * NEWS_FACTOR && rate > known / NEWS_FACTOR) return false;
      known = rate;
      return true;
    },
  };
}
