import { constants, Database } from "bun:sqlite";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../errors.ts";

/** Held until it is disposed of, or until its process ends, however it ends: the system gives it back. */
export type Lock = Disposable;

/** Any number may have a lock `shared`, or one `exclusive`. */
export type LockMode = "shared" | "exclusive";

/** The locks of one push. */
export type Locks = {
  /**
   * Waits until a lock is free, and takes it. Throws the signal's reason when it is aborted meanwhile.
   *
   * @param onWaiting told once, if somebody else has it
   */
  take(name: string, onWaiting: () => void, mode?: LockMode): Promise<Lock>;
};

/** Short enough that nobody notices, long enough to cost nothing. */
const POLL_MS = 150;

/** What is taken where locks do not work. */
const NO_LOCK: Lock = { [Symbol.dispose]: () => {} };

/** The lock that a push shares with other pushes, and that whoever removes files from the cache has alone. */
export const CACHE_IN_USE = "cache";

/**
 * Locks in a folder, by name: between processes, and inside one.
 *
 * @param onUnavailable told once, with the reason, where locks do not work (on some network file systems): everything
 * goes on without them, for they save work that would be done twice, and nothing else
 */
export function openLocks(
  directory: string,
  signal: AbortSignal,
  onUnavailable: (reason: string) => void,
): Locks {
  let isWarned = false;
  return {
    async take(name, onWaiting, mode = "exclusive") {
      for (let tries = 0; ; tries++) {
        signal.throwIfAborted();
        try {
          const lock = tryLock(directory, name, mode);
          if (lock !== undefined) return lock;
        } catch (error) {
          if (!isWarned) onUnavailable(messageOf(error));
          isWarned = true;
          return NO_LOCK;
        }
        if (tries === 0) onWaiting();
        await sleep(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    },
  };
}

/**
 * Takes a lock. Undefined: somebody else has it. Throws SQLite's or the system's error where locks do not work.
 *
 * It is the lock that SQLite takes on a database, here an empty file: Bun brings it along on every system, and has no
 * other call for one.
 */
export function tryLock(directory: string, name: string, mode: LockMode): Lock | undefined {
  const path = join(directory, `${name}.lock`);
  const database = new Database(path, { create: true, readwrite: true });
  try {
    database.run("PRAGMA busy_timeout = 0");
    // Else there would be a second file beside it.
    database.run("PRAGMA journal_mode = MEMORY");
    if (mode === "shared") {
      database.run("BEGIN");
      // It is the first read that takes the lock.
      database.query("SELECT count(*) FROM sqlite_schema").get();
    } else {
      database.run("BEGIN EXCLUSIVE");
      // Nothing is ever written, for nothing is committed. But on a file that may only be read, nothing was locked, and
      // it is here that SQLite says so.
      database.run("PRAGMA user_version = 1");
    }
    if (!isRemoved(database)) {
      return { [Symbol.dispose]: () => (mode === "exclusive" ? remove(database, path) : database.close()) };
    }
  } catch (error) {
    database.close();
    if (error instanceof Error && "code" in error && String(error.code).startsWith("SQLITE_BUSY"))
      return undefined;
    throw error;
  }
  database.close();
  return undefined;
}

/** Whoever had the lock before has removed the file, and others may have locked a new one of that name. */
function isRemoved(database: Database): boolean {
  const answer = new Int32Array(2);
  database.fileControl(constants.SQLITE_FCNTL_HAS_MOVED, answer);
  return answer[0] !== 0;
}

/** Gives an exclusive lock back, and leaves no file behind. */
function remove(database: Database, path: string): void {
  // Removed while it is locked, so that nobody locks it and then loses it. Windows removes no file that is open, and
  // has no such trouble.
  if (process.platform === "win32") database.close();
  try {
    rmSync(path, { force: true });
  } catch {
    // The empty file is in nobody's way, and goes when the cache is pruned.
  }
  database.close();
}
