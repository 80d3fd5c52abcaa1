import { type DockerEngine, startDockerEngine } from "../../test/support/docker-engine.ts";
import { openPodmanStore, type PodmanStore } from "../../test/support/podman-store.ts";

/** What the image is called in the engines. */
export const ENGINE_IMAGE = "bench/app:v2";

/** Engines of our own that have the image. An engine that cannot run here is not there. */
export type Engines = AsyncDisposable & {
  readonly docker: DockerEngine | undefined;
  readonly podman: PodmanStore | undefined;
};

/** Starts what is installed, and loads an archive into it. */
export async function startEngines(archive: string, say: (line: string) => void): Promise<Engines> {
  await using resources = new AsyncDisposableStack();
  const start = async <T extends AsyncDisposable>(
    name: string,
    open: () => Promise<T>,
  ): Promise<T | undefined> => {
    if (Bun.which(name) === null) return undefined;
    try {
      return resources.use(await open());
    } catch (error) {
      say(`${name} is left out: ${error instanceof Error ? error.message.slice(0, 300) : error}`);
      return undefined;
    }
  };
  // Without `overlay2`, every layer would be a copy of all below it, and no engine in use is like that.
  const docker = await start("dockerd", async () => {
    const engine = await startDockerEngine("overlay2").catch(() => startDockerEngine());
    await engine.docker("load", "--input", archive);
    return engine;
  });
  const podman = await start("podman", async () => {
    const store = await openPodmanStore("overlay");
    await store.podman("load", "--input", archive);
    return store;
  });
  const owned = resources.move();
  return { docker, podman, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
