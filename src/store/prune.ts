import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileError, messageOf, OTHER_CACHE, PushError } from "../errors.ts";
import { type CacheContents, type CachedBlob, type CacheFile, readCache, totalBytes } from "./contents.ts";
import { CACHE_IN_USE, type Lock, tryLock } from "./locks.ts";

/** What goes is whatever one of the rules names. */
export type PruneRules = {
  readonly all: boolean;
  /** What was not used for so long. */
  readonly olderThanMs: number | undefined;
  /** What was not used for longest, until the blobs together are no larger. */
  readonly maxBytes: number | undefined;
  /** Only tells what would go. */
  readonly dryRun: boolean;
};

export type Pruned = {
  readonly directory: string;
  readonly blobs: readonly CachedBlob[];
  /** Beside the blobs and what belongs to them. */
  readonly others: readonly CacheFile[];
  readonly freedBytes: number;
  /** Blobs that stay. */
  readonly keptCount: number;
  readonly keptBytes: number;
};

/**
 * Removes compressed layers from a cache, with all that leads to them or is noted about them, and what nobody needs any
 * more. Throws `CACHE_IN_USE` while a push is running, and `FILE_FAILED`.
 */
export async function pruneCache(directory: string, rules: PruneRules, now: Date): Promise<Pruned> {
  const before = await readCache(directory);
  // Nothing of ours is there, and perhaps no folder: there is nothing to lock.
  if (Object.values(before).every((files) => typeof files === "string" || files.length === 0)) {
    return { directory, blobs: [], others: [], freedBytes: 0, keptCount: 0, keptBytes: 0 };
  }
  using _alone = lockWhole(directory);
  const contents = await readCache(directory);
  const blobs = chooseBlobs(contents, rules, now);
  const others = chooseOthers(contents, rules, now);
  const kept = contents.blobs.filter((blob) => !blobs.includes(blob));
  const belonging = blobs.flatMap(({ pointers, uploads }) => [...pointers, ...uploads]);
  // Pointers first: whenever this ends, none leads to nothing.
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
      `Cannot prune "${directory}": it cannot be locked, so that nobody knows whether a push is running (${messageOf(cause)}).`,
      { hint: "Check the permissions. Or, when no push is running, delete the folder yourself.", cause },
    );
  }
  if (lock !== undefined) return lock;
  throw new PushError("CACHE_IN_USE", `Cannot prune "${directory}": a push is running that uses it.`, {
    hint: "Prune when the push has ended.",
  });
}

function chooseBlobs({ blobs }: CacheContents, rules: PruneRules, now: Date): CachedBlob[] {
  let keptBytes = 0;
  let isFull = false;
  return blobs.filter((blob) => {
    if (isOutdated(blob, rules, now)) return true;
    // The last used come first, and stay; from the first that has no room on, all go.
    isFull ||= rules.maxBytes !== undefined && keptBytes + blob.sizeBytes > rules.maxBytes;
    if (!isFull) keptBytes += blob.sizeBytes;
    return isFull;
  });
}

/** No push is running: what is unfinished stays so, and what is locked is locked by nobody. */
function chooseOthers(contents: CacheContents, rules: PruneRules, now: Date): CacheFile[] {
  const { unfinished, strayPointers, locks, places, limits, otherUploads } = contents;
  return [
    ...unfinished,
    ...strayPointers,
    // This prune's own lock goes by itself.
    ...locks.filter(({ name }) => name !== `${CACHE_IN_USE}.lock`),
    ...[...places, ...limits, ...otherUploads].filter((file) => isOutdated(file, rules, now)),
  ];
}

function isOutdated({ usedAt }: CacheFile, { all, olderThanMs }: PruneRules, now: Date): boolean {
  return all || (olderThanMs !== undefined && now.getTime() - usedAt.getTime() > olderThanMs);
}

async function remove(directory: string, name: string): Promise<void> {
  try {
    await rm(join(directory, name), { force: true });
  } catch (cause) {
    throw fileError(cause, `remove "${name}" from "${directory}"`, OTHER_CACHE);
  }
}
