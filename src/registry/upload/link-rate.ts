/** Measures how fast all bodies together go to a registry. All uploads share one. */
export type LinkRate = {
  /** Returns the latest rate, else the saved one. Undefined if there is none. */
  bytesPerSecond(): number | undefined;
  /** Sends a body and measures its time. A body that breaks off counts until its last byte moved. */
  timed<T>(send: (moved: (sentBytes: number) => void) => Promise<T>): Promise<T>;
  /**
   * Makes the caller the one that measures an unknown rate, until that is disposed of. Returns a promise if somebody
   * else is: it settles when the rate is known, or nobody measures any more.
   */
  probe(): Disposable | Promise<void>;
  /** Tells once whether the rate is to be saved, because it has halved or doubled. */
  shouldSave(): boolean;
};

/** The time of a smaller body is mostly that of round trips. */
export const LEAST_TIMED_BYTES = 1024 * 1024;

/** A rate that changed by less is not saved. */
const SAVE_FACTOR = 2;

/**
 * Measures from now on. Each body counts as much as all before it: a link changes, and a single body may be bad luck.
 *
 * @param noted the rate that an earlier push saved, in bytes per second. It counts until a body was measured
 * @param now milliseconds, for tests
 */
export function linkRate(noted?: number, now: () => number = () => performance.now()): LinkRate {
  let known = noted;
  let bytes = 0;
  let ms = 0;
  /** The bytes of all bodies so far. */
  let carriedBytes = 0;
  let probing: PromiseWithResolvers<void> | undefined;

  const bytesPerSecond = () => (ms > 0 ? (bytes / ms) * 1000 : noted);

  return {
    bytesPerSecond,
    async timed(send) {
      const startMs = now();
      const startBytes = carriedBytes;
      let sentBytes = 0;
      let movedMs = startMs;
      let movedBytes = startBytes;
      const see = () => {
        movedMs = now();
        movedBytes = carriedBytes;
      };
      try {
        const result = await send((moved) => {
          carriedBytes += moved - sentBytes;
          sentBytes = moved;
          see();
        });
        see();
        return result;
      } finally {
        const tookMs = movedMs - startMs;
        if (sentBytes >= LEAST_TIMED_BYTES && tookMs > 0) {
          bytes = bytes / 2 + movedBytes - startBytes;
          ms = ms / 2 + tookMs;
          probing?.resolve();
        }
      }
    },
    probe() {
      if (probing !== undefined) return probing.promise;
      const own = Promise.withResolvers<void>();
      probing = own;
      return {
        [Symbol.dispose]() {
          probing = undefined;
          own.resolve();
        },
      };
    },
    shouldSave() {
      const rate = bytesPerSecond();
      if (rate === undefined) return false;
      if (known !== undefined && rate < known * SAVE_FACTOR && rate > known / SAVE_FACTOR) return false;
      known = rate;
      return true;
    },
  };
}
