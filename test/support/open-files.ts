import { readdirSync, readlinkSync } from "node:fs";

/** The files and folders below a path that this process has open. Linux only. */
export function openFilesBelow(path: string): string[] {
  return readdirSync("/proc/self/fd")
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        // It was the listing's own.
        return "";
      }
    })
    .filter((target) => target.startsWith(path));
}
