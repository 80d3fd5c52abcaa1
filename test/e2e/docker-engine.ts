import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { runWell, startDaemon, temporaryFolder, waitFor } from "./command.ts";

/** A Docker engine of our own, which touches no other one and no network but loopback. */
export type DockerEngine = AsyncDisposable & {
  /** `unix:///…` */
  readonly host: string;
  /** Of dockerd, which has containerd below it. */
  readonly pid: number;
  /** What makes `docker`, and so chunkpush, talk to this engine: no context of this machine's user counts. */
  readonly env: { readonly DOCKER_HOST: string; readonly DOCKER_CONFIG: string };
  /** Runs a `docker` command that has to succeed. @returns its standard output, trimmed */
  docker(...args: readonly string[]): Promise<string>;
};

/**
 * Starts dockerd, which starts its own containerd beneath, and waits until it answers.
 *
 * @param storageDriver `vfs` works everywhere; `overlay2` is what real engines have, and copies no layers
 */
export async function startDockerEngine(storageDriver: "vfs" | "overlay2" = "vfs"): Promise<DockerEngine> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const at = (name: string) => join(folder.path, name);
  const socket = at("docker.sock");
  const log = at("log");
  // In place of this machine's /etc/docker/daemon.json. New engines would save layers compressed otherwise.
  await Bun.write(at("daemon.json"), JSON.stringify({ features: { "containerd-snapshotter": false } }));
  const daemon = startDaemon(
    [
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
  const owned = resources.move();
  return {
    host: env.DOCKER_HOST,
    pid: daemon.pid,
    env,
    docker: async (...args) =>
      // BuildKit wants to be a plugin of the client, and a network.
      (await runWell(["docker", ...args], { env: { ...env, DOCKER_BUILDKIT: "0" } })).trim(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
