/** Measures the rate of all request bodies to a registry together. All uploads share it. */
export type LinkRate = {
  /** Returns the measured rate, or else the saved one. Undefined if there is neither. */
  bytesPerSecond(): number | undefined;
  /** Sends a body and measures it. A body that breaks off counts up to its last byte. */
  timed<T>(send: (moved: (sentBytes: number) => void) => Promise<T>): Promise<T>;
  /**
   * Registers the caller to measure an unknown rate, until disposal. If another caller is registered, returns a promise
   * instead, which resolves when the rate is known or that caller has ended.
   */
  probe(): Disposable | Promise<void>;
  /** Tells whether the caller should save the rate: it is new, or has halved or doubled since the last save. */
  shouldSave(): boolean;
};

/** Smaller bodies are not measured: they take mostly round trips. */
export const LEAST_TIMED_BYTES = 1024 * 1024;

/** A rate that changed by less is not saved. */
const SAVE_FACTOR = 2;

/**
 * Starts to measure. Each body counts as much as all bodies before it together: a link changes, but one body may be slow by
 * chance.
 *
 * @param noted the saved rate of an earlier push, in bytes per second, which is used until a body is measured
 * @param now the clock in milliseconds, for tests
 */
export function linkRate(noted?: number, now: () => number = () => performance.now()): LinkRate {
  let known = noted;
  let bytes = 0;
  let ms = 0;
  /** The sent bytes of all bodies so far. */
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
