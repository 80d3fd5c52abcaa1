import { messageOf, PushError } from "./errors.ts";

const HINTS: Record<string, string> = {
  ENOSPC: "The disk is full: make room, or choose another folder with --cache-dir.",
  EDQUOT: "The disk quota is used up: make room, or choose another folder with --cache-dir.",
  EACCES: "Check the permissions, or choose another folder with --cache-dir.",
  EPERM: "Check the permissions, or choose another folder with --cache-dir.",
  EROFS: "The file system is read-only: choose another folder with --cache-dir.",
  ENOTDIR: "Something on the way is not a folder: choose another with --cache-dir.",
  EEXIST: "Something on the way is not a folder: choose another with --cache-dir.",
};

/** Says what could not be done to a file, and what to do about it. Other errors than the system's pass through. */
export function fileError(cause: unknown, action: string): unknown {
  if (
    !(cause instanceof Error && "code" in cause && typeof cause.code === "string") ||
    cause instanceof PushError
  )
    return cause;
  const hint = HINTS[cause.code];
  return new PushError("FILE_FAILED", `Cannot ${action}: ${messageOf(cause)}`, {
    cause,
    ...(hint !== undefined && { hint }),
  });
}
