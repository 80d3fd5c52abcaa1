import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileError, messageOf, OTHER_CACHE, PushError } from "../errors.ts";
import { type CacheContents, type CachedBlob, type CacheFile, readCache, totalBytes } from "./contents.ts";
import { CACHE_IN_USE, type Lock, tryLock } from "./locks.ts";

/** Selects what to prune. A file is removed if any rule matches it. */
export type PruneRules = {
  readonly all: boolean;
  /** Removes files that were not used for this long. */
  readonly olderThanMs: number | undefined;
  /** Removes the least recently used blobs until the rest fit into this size. */
  readonly maxBytes: number | undefined;
  /** Removes nothing, and only reports what would be removed. */
  readonly dryRun: boolean;
};

export type Pruned = {
  readonly directory: string;
  readonly blobs: readonly CachedBlob[];
  /** Removed files that belong to no removed blob. */
  readonly others: readonly CacheFile[];
  readonly freedBytes: number;
  readonly keptCount: number;
  readonly keptBytes: number;
};

/**
 * Removes blobs from a cache with their pointers and saved offsets. Always removes stale files as well. Throws
 * `CACHE_IN_USE` while a push is running, and `FILE_FAILED`.
 */
export async function pruneCache(directory: string, rules: PruneRules, now: Date): Promise<Pruned> {
  const before = await readCache(directory);
  // The cache is empty or its folder missing: a lock would create a file.
  if (Object.values(before).every((files) => typeof files === "string" || files.length === 0)) {
    return { directory, blobs: [], others: [], freedBytes: 0, keptCount: 0, keptBytes: 0 };
  }
  using _alone = lockWhole(directory);
  const contents = await readCache(directory);
  const blobs = chooseBlobs(contents, rules, now);
  const others = chooseOthers(contents, rules, now);
  const kept = contents.blobs.filter((blob) => !blobs.includes(blob));
  const belonging = blobs.flatMap(({ pointers, uploads }) => [...pointers, ...uploads]);
  // Remove pointers first, so that an interrupted prune leaves no dangling pointer.
  const files = [...belonging, ...blobs, ...others];
  if (!rules.dryRun) for (const { name } of files) await remove(directory, name);
  return {
    directory,
    blobs,
    others,
    freedBytes: totalBytes(files),
    keptCount: kept.length,
    keptBytes: totalBytes(kept),
  };
}

function lockWhole(directory: string): Lock {
  let lock: Lock | undefined;
  try {
    lock = tryLock(directory, CACHE_IN_USE, "exclusive");
  } catch (cause) {
    throw new PushError(
      "FILE_FAILED",
      `Cannot prune "${directory}": it cannot be locked to make sure that no push is running (${messageOf(cause)}).`,
      { hint: "Check the permissions. If no push is running, you can delete the folder.", cause },
    );
  }
  if (lock !== undefined) return lock;
  throw new PushError("CACHE_IN_USE", `Cannot prune "${directory}": a running push uses it.`, {
    hint: "Prune after the push has ended.",
  });
}

function chooseBlobs({ blobs }: CacheContents, rules: PruneRules, now: Date): CachedBlob[] {
  let keptBytes = 0;
  let isFull = false;
  return blobs.filter((blob) => {
    if (isOutdated(blob, rules, now)) return true;
    // Blobs are sorted by last use. The first that does not fit goes, and so do all after it.
    isFull ||= rules.maxBytes !== undefined && keptBytes + blob.sizeBytes > rules.maxBytes;
    if (!isFull) keptBytes += blob.sizeBytes;
    return isFull;
  });
}

/** Chooses among files other than blobs. No push is running, so temporary files and locks are stale. */
function chooseOthers(contents: CacheContents, rules: PruneRules, now: Date): CacheFile[] {
  const { unfinished, strayPointers, locks, places, limits, otherUploads } = contents;
  return [
    ...unfinished,
    ...strayPointers,
    // Releasing this prune's own lock removes its file.
    ...locks.filter(({ name }) => name !== `${CACHE_IN_USE}.lock`),
    ...[...places, ...limits, ...otherUploads].filter((file) => isOutdated(file, rules, now)),
  ];
}

function isOutdated({ usedAt }: CacheFile, { all, olderThanMs }: PruneRules, now: Date): boolean {
  return all || (olderThanMs !== undefined && now.getTime() - usedAt.getTime() > olderThanMs);
}

async function remove(directory: string, name: string): Promise<void> {
  await rm(join(directory, name), { force: true }).catch((cause: unknown) => {
    throw fileError(cause, `remove "${name}" from "${directory}"`, OTHER_CACHE);
  });
}
