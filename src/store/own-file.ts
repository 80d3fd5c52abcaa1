import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";

// A user who can write to a cache can choose what is pushed: a pointer names the blob of a layer. So a push follows no
// link in the cache, and reads no file that another user may have written.

/** The reason not to trust a file: it belongs to another user, or everybody may write to it. */
export type Distrust = "owner" | "writable";

/** A cache folder, and the users whose files in it are trusted. */
export type CacheFolder = {
  readonly directory: string;
  /** User IDs whose files are trusted, besides this user and root. */
  readonly owners?: readonly number[];
  /** Set if others may replace any file in the folder. Then no file is trusted. */
  readonly isForeign?: boolean;
  /** Set while nothing may change in the folder, dates included. */
  readonly isReadOnly?: boolean;
  /** Called for each file that is not trusted. */
  readonly onDistrust?: (path: string, why: Distrust) => void;
};

/** The result of `stat`, in our own type: the library's types must not need Node's. */
type FileStatus = {
  readonly uid: number;
  readonly mode: number;
  readonly size: number;
  isFile(): boolean;
  isDirectory(): boolean;
};

/** The modes of files and folders that chunkpush creates: only the user may access them. */
export const PRIVATE_FILE = 0o600;
export const PRIVATE_FOLDER = 0o700;

/** Opening does not wait for a pipe's writer, and follows no link. Windows has neither flag. */
const OPEN_SAFELY = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** The sticky bit: others may add files to a folder, but not replace another user's. */
const STICKY = 0o1000;
const WRITABLE_BY_ALL = 0o002;

/** Tells why a file or folder is not trusted. Undefined if it is, and on Windows, which has no such owners. */
export function distrustOf(status: FileStatus, owners: readonly number[] = []): Distrust | undefined {
  const self = process.geteuid?.();
  if (self === undefined) return undefined;
  if (![self, 0, ...owners].includes(status.uid)) return "owner";
  const isOpen = (status.mode & WRITABLE_BY_ALL) !== 0;
  return isOpen && !(status.isDirectory() && (status.mode & STICKY) !== 0) ? "writable" : undefined;
}

/** Returns the status of a trusted regular file. Undefined for anything else, such as a missing file, a link or a folder. */
export function statOwnFile(folder: CacheFolder, name: string): FileStatus | undefined {
  const path = join(folder.directory, name);
  const status = unlessFailing(() => lstatSync(path));
  return status !== undefined && isTrusted(folder, path, status) ? status : undefined;
}

/** Reads a trusted regular file. Undefined for anything else, and for an unreadable file or one over `maxBytes`. */
export function readOwnFile(
  folder: CacheFolder,
  name: string,
  maxBytes: number,
): Uint8Array<ArrayBuffer> | undefined {
  const path = join(folder.directory, name);
  return readRegularFile(path, maxBytes, (status) => isTrusted(folder, path, status));
}

/**
 * Reads a small regular file of any user. Undefined if there is none. The calls are synchronous: that is faster, and
 * thousands of layers do not open thousands of files at once.
 */
export function readRegularFile(
  path: string,
  maxBytes: number,
  isWanted: (status: FileStatus) => boolean = (status) => status.isFile(),
): Uint8Array<ArrayBuffer> | undefined {
  return unlessFailing(() => {
    const file = openSync(path, OPEN_SAFELY);
    try {
      const status = fstatSync(file);
      if (!isWanted(status) || status.size > maxBytes) return undefined;
      const bytes = new Uint8Array(status.size);
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0));
    } finally {
      closeSync(file);
    }
  });
}

function isTrusted(
  { owners, isForeign, onDistrust }: CacheFolder,
  path: string,
  status: FileStatus,
): boolean {
  if (isForeign || !status.isFile()) return false;
  const why = distrustOf(status, owners);
  if (why !== undefined) onDistrust?.(path, why);
  return why === undefined;
}

/** Returns undefined if the system refuses. */
function unlessFailing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "syscall" in error) return undefined;
    throw error;
  }
}
