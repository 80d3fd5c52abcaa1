import { messageOf, PushError } from "./errors.ts";

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: make room",
  EDQUOT: "The disk quota is used up: make room",
  EACCES: "Check the permissions",
  EPERM: "Check the permissions",
  EROFS: "The file system is read-only",
  ENOTDIR: "Something on the way is not a folder",
  EEXIST: "Something on the way is not a folder",
  ENOENT: "Check its name, and that nothing removes it meanwhile",
};

/**
 * Says what could not be done to a file, and what to do about it. What is not the system's error passes through.
 *
 * @param alternative another way out, such as `or choose another folder with --cache-dir`
 */
export function fileError(cause: unknown, action: string, alternative?: string): unknown {
  const isFromSystem = cause instanceof Error && "syscall" in cause && "code" in cause;
  if (!isFromSystem) return cause;
  const hint = [REMEDIES[String(cause.code)], alternative].filter(Boolean).join(", ");
  return new PushError("FILE_FAILED", `Cannot ${action}: ${messageOf(cause)}`, {
    cause,
    ...(hint !== "" && { hint: `${hint}.` }),
  });
}

/** The way out of whatever is wrong with the cache's folder. */
export const OTHER_CACHE = "or choose another folder with --cache-dir";
