import type { Call } from "../../retry.ts";

/** Work that several callers wait for, and the signal of the caller that began it. */
export type Shared<T> = { readonly work: Promise<T>; readonly signal: AbortSignal };

/** Begins work, or waits for the work of another caller with the same key. */
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
    // The caller that began the work was aborted, but this one was not.
    if (!shared.signal.aborted || call.signal.aborted) throw error;
    return share(underWay, key, begin, call);
  }
}
