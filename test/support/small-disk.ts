import { runWell } from "./command.ts";
import { type TemporaryFolder, temporaryFolder } from "./temporary-folder.ts";

/** A file system of its own, which only root may have. */
export type SmallDisk = TemporaryFolder & {
  /** From now on nobody writes there. Nothing on it may be open for writing. */
  makeReadOnly(): Promise<void>;
};

/** @param bytes how much it holds, in whole pages of 4096 */
export async function smallDisk(bytes: number): Promise<SmallDisk> {
  const folder = await temporaryFolder();
  const mount = (...args: string[]) => runWell(["mount", ...args, folder.path]);
  await mount("-t", "tmpfs", "-o", `size=${bytes}`, "chunkpush-test");
  return {
    path: folder.path,
    makeReadOnly: async () => {
      await mount("-o", "remount,ro");
    },
    async [Symbol.asyncDispose]() {
      await runWell(["umount", folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}
