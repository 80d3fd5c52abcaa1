import type { Report } from "../report/events.ts";
import { type LayerCache, openLayerCache } from "../store/layers.ts";
import { CACHE_IN_USE, type Lock, type Locks, openLocks } from "../store/locks.ts";
import type { CompleteOptions } from "./options.ts";

/** A cache that is used until the lock is released: nobody prunes it meanwhile. */
export type UsedCache = { readonly cache: LayerCache; readonly locks: Locks; readonly inUse: Lock };

/** Opens the cache, and waits for a prune of it to end. Throws `FILE_FAILED`. */
export async function useCache(
  {
    cacheDirectory,
    cacheOwners,
    report,
  }: Pick<CompleteOptions, "cacheDirectory" | "cacheOwners"> & { readonly report: Report },
  signal: AbortSignal,
): Promise<UsedCache> {
  let isTold = false;
  const cache = await openLayerCache(cacheDirectory, {
    owners: cacheOwners,
    // If others may have written to it, this is reported once.
    onDistrust(path, why) {
      if (!isTold) report({ type: "notice", code: "CACHE_DISTRUSTED", path, why });
      isTold = true;
    },
  });
  const locks = openLocks(cacheDirectory, signal, (reason) =>
    report({ type: "notice", code: "LOCKS_UNAVAILABLE", directory: cacheDirectory, reason }),
  );
  const onWaiting = () => report({ type: "notice", code: "CACHE_AWAITED" });
  return { cache, locks, inUse: await locks.take(CACHE_IN_USE, onWaiting, "shared") };
}
