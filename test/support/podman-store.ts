import { join } from "node:path";
import { runWell } from "./command.ts";
import { type Place, THIS_MACHINE } from "./place.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** Podman with a storage of its own. */
export type PodmanStore = AsyncDisposable & {
  /** What to put before the arguments of a `podman` command, and its environment. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Runs a `podman` command that has to succeed. @returns its standard output, trimmed */
  podman(...args: readonly string[]): Promise<string>;
};

export async function openPodmanStore(
  storageDriver: "vfs" | "overlay" = "vfs",
  place: Place = THIS_MACHINE,
): Promise<PodmanStore> {
  const folder = await temporaryFolder(place.folder);
  const at = (name: string) => join(folder.path, name);
  // By its path, for a wrapper of that name would find itself.
  const podman = place === THIS_MACHINE ? (Bun.which("podman") ?? "podman") : "podman";
  const command = [
    // Podman leaves the folder of this driver mounted. A mount namespace ends with the command.
    ...(storageDriver === "overlay" && place === THIS_MACHINE ? ["unshare", "--mount"] : place.enter),
    ...[podman, "--root", at("root"), "--runroot", at("run"), "--tmpdir", at("tmp")],
    `--storage-driver=${storageDriver}`,
  ];
  const env = { HOME: folder.path, TMPDIR: folder.path };
  return {
    command,
    env,
    podman: async (...args) => (await runWell([...command, ...args], { env })).trim(),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
