import type { Call } from "../../retry.ts";

/** Work that several requests wait for, and the signal of the one that does it. */
export type Shared<T> = { readonly work: Promise<T>; readonly signal: AbortSignal };

/** Does work, or shares that of another caller for the same key. */
export async function share<K, T>(
  underWay: Map<K, Shared<T>>,
  key: K,
  begin: () => Promise<T>,
  call: Call,
): Promise<T> {
  const shared = underWay.get(key);
  if (shared === undefined) {
    const work = begin().finally(() => underWay.delete(key));
    underWay.set(key, { work, signal: call.signal });
    return work;
  }
  try {
    return await shared.work;
  } catch (error) {
    // The request that did the work was aborted, this one was not.
    if (!shared.signal.aborted || call.signal.aborted) throw error;
    return share(underWay, key, begin, call);
  }
}
