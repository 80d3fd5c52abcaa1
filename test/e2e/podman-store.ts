import { join } from "node:path";
import { runWell, temporaryFolder } from "./command.ts";

/** Podman with a storage of its own. */
export type PodmanStore = AsyncDisposable & {
  /** Runs a `podman` command that has to succeed. @returns its standard output, trimmed */
  podman(...args: readonly string[]): Promise<string>;
};

export async function openPodmanStore(): Promise<PodmanStore> {
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const storage = [
    "--root",
    at("root"),
    "--runroot",
    at("run"),
    "--tmpdir",
    at("tmp"),
    "--storage-driver=vfs",
  ];
  return {
    podman: async (...args) =>
      (
        await runWell(["podman", ...storage, ...args], { env: { HOME: folder.path, TMPDIR: folder.path } })
      ).trim(),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
