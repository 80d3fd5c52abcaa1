import type { Report } from "../report/events.ts";
import { type LayerCache, openLayerCache, viewLayerCache } from "../store/layers.ts";
import { CACHE_IN_USE, type Lock, type Locks, NO_LOCKS, openLocks } from "../store/locks.ts";
import type { Distrust } from "../store/own-file.ts";
import type { CompleteOptions } from "./options.ts";

/** An open cache. Nobody prunes it until `inUse` is released. */
export type UsedCache = { readonly cache: LayerCache; readonly locks: Locks; readonly inUse: Lock };

type CacheOptions = Pick<CompleteOptions, "cacheDirectory" | "cacheOwners"> & { readonly report: Report };

/** Opens the cache for reading alone, without locks. Throws `FILE_FAILED`. */
export async function viewCache(options: CacheOptions): Promise<UsedCache> {
  const cache = await viewLayerCache(options.cacheDirectory, trustOf(options));
  return { cache, locks: NO_LOCKS, inUse: await NO_LOCKS.take(CACHE_IN_USE, () => {}) };
}

/** Opens the cache, and waits for a running prune to end. Throws `FILE_FAILED`. */
export async function useCache(options: CacheOptions, signal: AbortSignal): Promise<UsedCache> {
  const { cacheDirectory, report } = options;
  const cache = await openLayerCache(cacheDirectory, trustOf(options));
  const locks = openLocks(cacheDirectory, signal, (reason) =>
    report({ type: "notice", code: "LOCKS_UNAVAILABLE", directory: cacheDirectory, reason }),
  );
  const onWaiting = () => report({ type: "notice", code: "CACHE_AWAITED" });
  return { cache, locks, inUse: await locks.take(CACHE_IN_USE, onWaiting, "shared") };
}

/** Returns the users whose files are trusted. The first distrusted file is reported. */
function trustOf({ cacheOwners, report }: CacheOptions) {
  let isTold = false;
  return {
    owners: cacheOwners,
    onDistrust(path: string, why: Distrust) {
      if (!isTold) report({ type: "notice", code: "CACHE_DISTRUSTED", path, why });
      isTold = true;
    },
  };
}
