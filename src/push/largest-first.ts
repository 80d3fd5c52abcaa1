import pLimit from "p-limit";

/** Runs work when its turn has come. */
export type LargestFirst = <T>(size: number, work: () => Promise<T>) => Promise<T>;

/**
 * So much work at a time; of what waits, the largest is next. What is left to the end runs alone, and should be over soon.
 *
 * @param settled waited for before each choice: until then, something larger may turn up
 */
export function largestFirst(concurrency: number, settled: () => Promise<unknown>): LargestFirst {
  const limit = pLimit(concurrency);
  const waiting: { readonly size: number; readonly start: () => Promise<void> }[] = [];
  return (size, work) =>
    new Promise((resolve, reject) => {
      waiting.push({ size, start: () => work().then(resolve, reject) });
      // There are as many turns as there is work, but none is for a certain one.
      void limit(async () => {
        await settled();
        const next = waiting.reduce((most, each) => (each.size > most.size ? each : most));
        waiting.splice(waiting.indexOf(next), 1);
        await next.start();
      });
    });
}
