import { chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** What becomes of a save: the engine's own, half of one whose docker is killed, or one that never goes on. */
export type SaveMode = "whole" | "killed" | "stalled" | "truncated";

/** Whether the engine says where its storage is, or names a folder that is not there, as one on another machine does. */
export type StorageMode = "readable" | "hidden";

/** An engine's command before the real one, which writes down what it is asked. */
export type DockerWrapper = {
  /** What makes chunkpush find it, in place of the machine's own. */
  env(mode?: SaveMode, storage?: StorageMode): Record<string, string>;
  /** Every call since the last look, such as `image save sha256:…`. */
  calls(): Promise<string[]>;
  /** The process that saves, or saved last. */
  savingPid(): Promise<number | undefined>;
};

/**
 * @param halfBytes how much of a save comes, where it does not come whole
 * @param command what the real command begins with. Default: this machine's
 * @param name the command's name
 */
export async function installDockerWrapper(
  folder: string,
  halfBytes: number,
  command: readonly string[] = ["docker"],
  name: "docker" | "podman" = "docker",
): Promise<DockerWrapper> {
  const [program = "", ...args] = command;
  // By its path, because by its name the wrapper would find itself.
  const real = [Bun.which(program) ?? program, ...args].map((word) => `'${word}'`).join(" ");
  const bin = join(folder, "bin");
  const [log, pid] = [join(folder, "docker.log"), join(folder, "docker.pid")];
  await mkdir(bin, { recursive: true });
  await Bun.write(log, "");
  await Bun.write(
    join(bin, name),
    `#!/bin/sh
echo "$*" >> '${log}'
if [ "$1 $STORAGE_MODE" = "info hidden" ]; then
  echo '{"DockerRootDir":"/nonexistent/docker","Driver":"overlay2"}'
  exit
fi
if [ "$1 $2" = "image save" ]; then
  echo $$ > '${pid}'
  if [ "$SAVE_MODE" != whole ]; then ${real} "$@" | head -c ${halfBytes}; fi
  case "$SAVE_MODE" in
    killed) kill -9 $$ ;;
    truncated) exit 0 ;;
    stalled) echo "half is sent" >> '${log}'; exec sleep 600 ;;
  esac
fi
exec ${real} "$@"
`,
  );
  await chmod(join(bin, name), 0o755);
  let seen = 0;
  return {
    env: (mode = "whole", storage = "readable") => ({
      PATH: `${bin}:${process.env["PATH"]}`,
      SAVE_MODE: mode,
      STORAGE_MODE: storage,
    }),
    async calls() {
      const lines = (await readFile(log, "utf8")).split("\n").filter(Boolean);
      const since = lines.slice(seen);
      seen = lines.length;
      return since;
    },
    async savingPid() {
      const text = await readFile(pid, "utf8").catch(() => "");
      return text === "" ? undefined : Number(text);
    },
  };
}
