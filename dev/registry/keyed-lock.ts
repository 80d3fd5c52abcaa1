/** Runs the jobs of one key one after another, and those of different keys at the same time. */
export type KeyedLock = <T>(key: string, job: () => Promise<T>) => Promise<T>;

export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<unknown>>();
  return async (key, job) => {
    const before = tails.get(key) ?? Promise.resolve();
    const mine = before.then(job);
    // A job that failed is its caller's to handle; the next one in the line still has its turn.
    const tail = mine.catch(() => undefined);
    tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (tails.get(key) === tail) tails.delete(key);
    }
  };
}
