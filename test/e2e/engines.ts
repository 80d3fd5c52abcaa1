/** The engines that an image is pushed from: of this machine and of today, each started for one test file. */
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { runWell, startDaemon, waitFor } from "../support/command.ts";
import { startDockerEngine } from "../support/docker-engine.ts";
import { requireParts } from "../support/parts.ts";
import { type Place, THIS_MACHINE } from "../support/place.ts";
import { openPodmanStore } from "../support/podman-store.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findLab } from "./engine-lab.ts";

/** A running engine that nobody else uses. */
export type Engine = AsyncDisposable & {
  /** As the engine itself says: `28.5.2+dfsg4`. */
  readonly version: string;
  /** What a command of the engine begins with, and its environment. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where folders have the same path for the engine and for this process. */
  readonly folder: string;
  /** Runs a `docker` command that has to succeed. @returns its standard output, trimmed */
  docker(...args: readonly string[]): Promise<string>;
  /** Builds an image with the builder that is the engine's own. */
  build(context: string, ...flags: readonly string[]): Promise<void>;
  /** Pulls from a registry on loopback that has no TLS. */
  pull(reference: string): Promise<void>;
};

/** An engine that can be started here. */
export type EngineRole = {
  readonly title: string;
  /** What an ID of the engine is the digest of: the image's config, or its manifest or index. */
  readonly identity: "config" | "manifest";
  /** How large the image with many layers is. Some engines take a while for each layer. */
  readonly manyLayers: number;
  /** The name of its command. Default: docker. */
  readonly runtime?: "docker" | "podman";
  start(): Promise<Engine>;
};

const lab = findLab();

/** Every engine that is there. The reason why others are not is logged, and in CI it fails, as `requireParts` has it. */
export const ENGINES: readonly EngineRole[] = [
  ...(requireParts("dockerd", "mount") ? [dockerOfThisMachine()] : []),
  ...(requireParts("podman", "mount") ? [podmanOfThisMachine()] : []),
  ...(lab === undefined ? [] : enginesOfToday(lab)),
];

function dockerOfThisMachine(): EngineRole {
  return {
    title: "Docker of this machine",
    identity: "config",
    manyLayers: 20,
    // Some file systems, overlays among them, cannot hold an overlay's upper folder.
    start: () => startDocker("overlay2", THIS_MACHINE).catch(() => startDocker("vfs", THIS_MACHINE)),
  };
}

function podmanOfThisMachine(): EngineRole {
  return {
    title: "Podman of this machine",
    identity: "config",
    manyLayers: 20,
    runtime: "podman",
    start: () => startPodman(THIS_MACHINE, "podman"),
  };
}

function enginesOfToday(place: Place): EngineRole[] {
  return [
    {
      title: "Docker of today, classic store",
      identity: "config",
      manyLayers: 100,
      start: () => startDocker("overlay2", place),
    },
    {
      title: "Docker of today, containerd store",
      identity: "manifest",
      manyLayers: 100,
      start: () => startDocker("overlayfs", place),
    },
    {
      title: "Podman of today, as docker",
      identity: "config",
      manyLayers: 20,
      start: () => startPodman(place, "docker"),
    },
    {
      title: "Podman of today, through its socket",
      identity: "config",
      manyLayers: 20,
      start: () => startPodmanService(place),
    },
  ];
}

async function startDocker(driver: "vfs" | "overlay2" | "overlayfs", place: Place): Promise<Engine> {
  const engine = await startDockerEngine(driver, place);
  // BuildKit needs a plugin of the client, which this machine may lack.
  const isClassic = place === THIS_MACHINE;
  const builder = isClassic ? ["build"] : ["buildx", "build"];
  const env = isClassic ? { ...engine.env, DOCKER_BUILDKIT: "0" } : engine.env;
  return {
    version: await engine.docker("version", "--format", "{{.Server.Version}}"),
    command: engine.command,
    env: engine.env,
    folder: place.folder,
    docker: engine.docker,
    build: async (context, ...flags) => {
      await runWell([...engine.command, ...builder, "--quiet", ...flags, context], { env });
    },
    pull: async (reference) => {
      await engine.docker("pull", "--quiet", reference);
    },
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** The line that the package podman-docker writes before every answer. */
const PODMAN_DOCKER_SAYS = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.";

/** Podman under its own name, or under that of docker, as the package podman-docker installs it. */
async function startPodman(place: Place, name: "docker" | "podman"): Promise<Engine> {
  await using resources = new AsyncDisposableStack();
  const store = resources.use(await openPodmanStore("overlay", place));
  const { path } = resources.use(await temporaryFolder(place.folder));
  const script = join(path, name);
  const settings = Object.entries(store.env).map(([name, value]) => `${name}='${value}'`);
  const words = store.command.map((word) => `'${word}'`);
  await Bun.write(
    script,
    `#!/bin/sh\n${name === "docker" ? `echo "${PODMAN_DOCKER_SAYS}" >&2\n` : ""}export ${settings.join(" ")}\nexec ${words.join(" ")} "$@"\n`,
  );
  await chmod(script, 0o755);
  const owned = resources.move();
  return {
    version: await store.podman("version", "--format", "{{.Client.Version}}"),
    command: [script],
    env: {},
    folder: place.folder,
    docker: store.podman,
    build: async (context, ...flags) => {
      await store.podman("build", "--quiet", ...flags, context);
    },
    pull: async (reference) => {
      await store.podman("pull", "--quiet", "--tls-verify=false", reference);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Podman's service, as the `docker` command sees it through DOCKER_HOST. */
async function startPodmanService(place: Place): Promise<Engine> {
  await using resources = new AsyncDisposableStack();
  const store = resources.use(await openPodmanStore("overlay", place));
  const { path } = resources.use(await temporaryFolder(place.folder));
  const [socket, log] = [join(path, "sock"), join(path, "log")];
  const daemon = startDaemon(
    [...store.command, "system", "service", "--time=0", `unix://${socket}`],
    { stdout: log, stderr: log },
    store.env,
  );
  resources.defer(() => daemon.stop());
  await waitFor("podman's service", async () => {
    if (daemon.hasExited()) throw new Error(`podman gave up:\n${await Bun.file(log).text()}`);
    const answer = await fetch("http://localhost/_ping", { unix: socket }).catch(() => undefined);
    return answer?.ok ? true : undefined;
  });
  const command = [...place.enter, "docker"];
  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: join(path, "client") };
  const docker = async (...args: readonly string[]) =>
    (await runWell([...command, ...args], { env: { ...env, DOCKER_BUILDKIT: "0" } })).trim();
  const owned = resources.move();
  return {
    version: await docker("version", "--format", "{{.Server.Version}}"),
    command,
    env,
    folder: place.folder,
    docker,
    build: async (context, ...flags) => {
      await docker("build", "--quiet", ...flags, context);
    },
    pull: async (reference) => {
      await store.podman("pull", "--quiet", "--tls-verify=false", reference);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
