/** Measures how fast a single body goes to a registry while others are on their way. Shared by all uploads of a push. */
export type LinkRate = {
  /** The rate of the latest bodies, or else the one that an earlier push noted. Undefined: unknown. */
  bytesPerSecond(): number | undefined;
  /** Sends a body and times it. A body that breaks off counts until its last byte moved. */
  timed<T>(send: (moved: (sentBytes: number) => void) => Promise<T>): Promise<T>;
  /** Tells, once, that the rate has halved or doubled since it was noted. */
  takeNews(): boolean;
};

/** The time of a smaller body depends on round trips, not on the link. */
export const LEAST_TIMED_BYTES = 1024 * 1024;

/** A rate that changes by less is not noted again. */
const NEWS_FACTOR = 2;

/**
 * Each body counts as much as all before it together: a link changes, and a single body may be an outlier.
 *
 * @param noted the rate that an earlier push noted, in bytes per second. It counts until a body is timed
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
