import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { runWell, startDaemon, waitFor } from "./command.ts";
import { type Place, THIS_MACHINE } from "./place.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A Docker engine of our own, which touches no other one and no network but loopback. */
export type DockerEngine = AsyncDisposable & {
  /** `unix:///…` */
  readonly host: string;
  /** Of dockerd, which has containerd below it. */
  readonly pid: number;
  /** What a `docker` command begins with. */
  readonly command: readonly string[];
  /** What makes `docker`, and so chunkpush, talk to this engine: no context of this machine's user counts. */
  readonly env: { readonly DOCKER_HOST: string; readonly DOCKER_CONFIG: string };
  /** Runs a `docker` command that has to succeed. @returns its standard output, trimmed */
  docker(...args: readonly string[]): Promise<string>;
};

/**
 * Starts dockerd, which starts its own containerd beneath, and waits until it answers.
 *
 * @param storageDriver `vfs` works everywhere; `overlay2` is what real engines have, and copies no layers; `overlayfs` is
 * the containerd image store's, in engines that have one
 */
export async function startDockerEngine(
  storageDriver: "vfs" | "overlay2" | "overlayfs" = "vfs",
  place: Place = THIS_MACHINE,
): Promise<DockerEngine> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder(place.folder));
  const at = (name: string) => join(folder.path, name);
  const socket = at("docker.sock");
  const log = at("log");
  // Replaces this machine's /etc/docker/daemon.json. Older engines ignore the feature.
  const features = { "containerd-snapshotter": storageDriver === "overlayfs" };
  await Bun.write(at("daemon.json"), JSON.stringify({ features }));
  const daemon = startDaemon(
    [
      ...place.enter,
      ...["dockerd", "--bridge=none", "--iptables=false", `--storage-driver=${storageDriver}`],
      ...["-H", `unix://${socket}`],
      ...["--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid")],
      ...["--config-file", at("daemon.json")],
    ],
    { stdout: log, stderr: log },
  );
  resources.defer(() => daemon.stop());
  await waitFor("dockerd", async () => {
    if (daemon.hasExited())
      throw new Error(`dockerd gave up:\n${(await readFile(log, "utf8")).slice(-3000)}`);
    const answer = await fetch("http://localhost/_ping", { unix: socket }).catch(() => undefined);
    return answer?.ok ? true : undefined;
  });

  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: at("client") };
  const command = [...place.enter, "docker"];
  const owned = resources.move();
  return {
    host: env.DOCKER_HOST,
    pid: daemon.pid,
    command,
    env,
    docker: async (...args) =>
      // BuildKit wants to be a plugin of the client, and a network.
      (await runWell([...command, ...args], { env: { ...env, DOCKER_BUILDKIT: "0" } })).trim(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
