import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileError, PushError } from "../../errors.ts";

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/** Limits the folders on the way to a file: each open one takes a file descriptor. */
const MAX_DEPTH = 128;

/** An open regular file, which the caller closes. */
type OpenFile = { readonly fd: number; readonly sizeBytes: number };

/** Opens a file or folder in an open folder. */
type OpenIn = (folder: number, name: string, flags: number) => number;

/** A folder whose files are opened without following a link in any part of their path. */
export type SafeFolder = Disposable & {
  /**
   * Opens a regular file. Keeps the folders on its way open for the next one. Throws `FILE_FAILED` for a missing file,
   * `..`, a link, and anything but a regular file.
   *
   * @param path relative. Bytes, if it is not valid UTF-8
   */
  openFile(path: string | Buffer): OpenFile;
  /** Opens the folder of a path. Throws `FILE_FAILED`. */
  enterFolderOf(path: string | Buffer): void;
  /** Reads a small file. Throws `FILE_FAILED`, also if it is larger than `maxBytes`. */
  readFile(path: string, maxBytes: number): Uint8Array<ArrayBuffer>;
};

/**
 * Opens a folder of an engine, whose layers may contain any link. Opens each part of a path relative to the open folder
 * before it, so that nobody can replace a folder by a link meanwhile. Linux only. Follows links in `root`.
 */
export function openSafeFolder(root: string): SafeFolder {
  const failure = (path: string | Buffer, problem: string) =>
    new PushError("FILE_FAILED", `Cannot read "${path}" in "${root}": ${problem}.`);
  const attempt = <T>(path: string | Buffer, use: () => T): T => {
    try {
      return use();
    } catch (cause) {
      throw fileError(cause, `read "${path}" in "${root}"`);
    }
  };
  if (!isAbsolute(root)) throw failure("", "the path is not absolute");
  const rootFd = attempt(".", () => openSync(root, O_RDONLY | O_DIRECTORY));
  /** The folders on the way to the last file. */
  const way: { readonly name: string; readonly fd: number }[] = [];

  const keepOnly = (count: number) => {
    for (const { fd } of way.splice(count)) closeSync(fd);
  };

  /** Calls `open` with the open folder of a path, and its last part. */
  function enter<T>(path: string | Buffer, open: (openIn: OpenIn, folder: number, name: string) => T): T {
    const isText = typeof path === "string";
    const names = partsOf(isText ? path : path.toString("latin1"));
    const last = names.pop();
    if (last === undefined) throw failure(path, "the path names no file");
    if ([...names, last].includes("..")) throw failure(path, 'the path contains ".."');
    if (names.length > MAX_DEPTH) throw failure(path, `it is more than ${MAX_DEPTH} folders deep`);
    if (path.includes("\0")) throw failure(path, "the path contains a zero byte");
    const openIn: OpenIn = (folder, name, flags) => {
      const place = `/proc/self/fd/${folder}/${name}`;
      return openSync(isText ? place : Buffer.from(place, "latin1"), O_RDONLY | O_NOFOLLOW | flags);
    };
    return attempt(path, () => {
      // In a path of bytes, the same characters stand for other names.
      if (!isText) keepOnly(0);
      const shared = names.findIndex((name, i) => way[i]?.name !== name);
      keepOnly(shared < 0 ? names.length : shared);
      for (const name of names.slice(way.length))
        way.push({ name, fd: openIn(way.at(-1)?.fd ?? rootFd, name, O_DIRECTORY) });
      const opened = open(openIn, way.at(-1)?.fd ?? rootFd, last);
      if (!isText) keepOnly(0);
      return opened;
    });
  }

  function openFile(path: string | Buffer): OpenFile {
    // Opening a FIFO would wait for a writer otherwise.
    const fd = enter(path, (openIn, folder, name) => openIn(folder, name, O_NONBLOCK));
    const status = fstatSync(fd);
    if (status.isFile()) return { fd, sizeBytes: status.size };
    closeSync(fd);
    throw failure(path, "it is not a regular file");
  }

  return {
    openFile,
    enterFolderOf: (path) => enter(path, () => {}),
    readFile(path, maxBytes) {
      const { fd, sizeBytes } = openFile(path);
      try {
        if (sizeBytes > maxBytes)
          throw failure(path, `it has ${sizeBytes} bytes. At most ${maxBytes} are allowed`);
        return attempt(path, () => new Uint8Array(readFileSync(fd)));
      } finally {
        closeSync(fd);
      }
    },
    [Symbol.dispose]() {
      keepOnly(0);
      closeSync(rootFd);
    },
  };
}

/** Splits a path into its parts. Absolute ones begin at the root, as engines unpack them. */
function partsOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
