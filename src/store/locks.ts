import { constants, Database } from "bun:sqlite";
import { closeSync, fchownSync, lstatSync, openSync, realpathSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../errors.ts";
import { PRIVATE_FILE } from "./own-file.ts";

/** A lock that is held until its disposal. The system releases it when the process ends, even by `kill -9`. */
export type Lock = Disposable;

/** A lock has any number of `shared` holders, or one `exclusive` holder. */
export type LockMode = "shared" | "exclusive";

/** The locks of one push. */
export type Locks = {
  /**
   * Waits until a lock is free and takes it. Throws the signal's reason on abort.
   *
   * @param onWaiting called once if another holder has the lock
   */
  take(name: string, onWaiting: () => void, mode?: LockMode): Promise<Lock>;
};

const POLL_MS = 150;

/** The result of `take` if locking is unavailable. */
const NO_LOCK: Lock = { [Symbol.dispose]: () => {} };

/** Locks nothing, for callers that only read. */
export const NO_LOCKS: Locks = { take: async () => NO_LOCK };

/** With these flags SQLite follows no link in any part of the path. */
const OPEN_SAFELY =
  constants.SQLITE_OPEN_READWRITE | constants.SQLITE_OPEN_CREATE | constants.SQLITE_OPEN_NOFOLLOW;

/** The lock on the whole cache: pushes share it; pruning holds it exclusively. */
export const CACHE_IN_USE = "cache";

/**
 * Opens named locks in a folder. They work between processes and inside one.
 *
 * @param onUnavailable called once with the reason if locking is unavailable, as on some network file systems. The push
 * goes on without locks, which only prevent duplicate work.
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
 * Takes a lock, or returns undefined if another holder has it. Throws SQLite's or the system's error if locking is
 * unavailable.
 *
 * It is SQLite's lock on an empty database file: Bun has no call for file locks, but includes SQLite on every system.
 */
export function tryLock(directory: string, name: string, mode: LockMode): Lock | undefined {
  const path = join(realpathSync(directory), `${name}.lock`);
  createLockFile(path);
  const database = new Database(path, OPEN_SAFELY);
  try {
    database.run("PRAGMA busy_timeout = 0");
    // Other journal modes create a second file.
    database.run("PRAGMA journal_mode = MEMORY");
    if (mode === "shared") {
      database.run("BEGIN");
      // The first read takes the lock.
      database.query("SELECT count(*) FROM sqlite_schema").get();
    } else {
      database.run("BEGIN EXCLUSIVE");
      // On a read-only file, BEGIN EXCLUSIVE silently locks nothing, but this write fails. It is never committed.
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

/**
 * Creates an empty file, unless there is one. Throws for anything else at the path: SQLite would write to a planted
 * database, and to files that its journal names. Throws for a file of another user, who could hold the lock for ever.
 */
function createLockFile(path: string): void {
  const self = process.geteuid?.();
  const folder = statSync(dirname(path));
  try {
    const file = openSync(path, "wx", PRIVATE_FILE);
    // Under sudo, the lock has to serve the folder's owner as well. Some file systems know no owners.
    if (self === 0) attempt(() => fchownSync(file, folder.uid, folder.gid));
    closeSync(file);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
  // Never open an existing file: to close it would give up SQLite's locks on it.
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isFile() || status.size > 0) throw new Error(`"${path}" is not an empty file`);
  if (self !== undefined && ![self, 0, ...(self === 0 ? [folder.uid] : [])].includes(status.uid))
    throw new Error(`"${path}" belongs to another user`);
}

function attempt(change: () => void): void {
  try {
    change();
  } catch {
    // The lock works without the change.
  }
}

/** Reports whether the last holder removed the file. Others may hold a lock on a new file of that name. */
function isRemoved(database: Database): boolean {
  const answer = new Int32Array(2);
  database.fileControl(constants.SQLITE_FCNTL_HAS_MOVED, answer);
  return answer[0] !== 0;
}

/** Releases an exclusive lock and removes its file. */
function remove(database: Database, path: string): void {
  // Remove the file while it is locked, so that nobody locks a removed file. Windows cannot remove an open file: close it
  // first there.
  if (process.platform === "win32") database.close();
  // Pruning removes a file that stays.
  attempt(() => rmSync(path, { force: true }));
  database.close();
}
