/** The programs that make images, each with an image or two in it. */

import { join } from "node:path";
import { runWell } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { layerOf } from "../support/image-fixture.ts";
import { type Place, THIS_MACHINE } from "../support/place.ts";
import { openPodmanStore, type PodmanStore } from "../support/podman-store.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

export type Programs = AsyncDisposable & {
  /** The same path here and in the lab. */
  readonly folder: string;
  readonly oldDocker: DockerEngine;
  readonly classicDocker: DockerEngine;
  readonly containerdDocker: DockerEngine;
  readonly oldPodman: PodmanStore;
  readonly podman: PodmanStore;
  /** Podman again, with nothing in its store. */
  readonly puller: PodmanStore;
  /** A build context: two layers, a label and a command. */
  readonly context: string;
  /** Runs a program of the lab. @returns its standard output, trimmed */
  lab(...command: readonly string[]): Promise<string>;
  /** Runs `docker buildx build` with the builder that the containerd store has. */
  buildx(...flags: readonly string[]): Promise<void>;
};

/** The name that every engine knows the image of two layers by, and that of the image for two platforms. */
export const IMAGE = "form/app:v1";
export const SECOND_IMAGE = "form/second:v1";
export const PLATFORMS_IMAGE = "form/platforms:v1";
/** Of two platforms, of which the containerd store has one alone. */
export const PULLED_IMAGE = "form/pulled:v1";

export const BOTH_PLATFORMS = ["--platform", "linux/amd64,linux/arm64"] as const;

export async function startPrograms(lab: Place): Promise<Programs> {
  await using resources = new AsyncDisposableStack();
  const { path: folder } = resources.use(await temporaryFolder(lab.folder));
  const context = join(folder, "context");
  await writeContext(context);
  const [oldDocker, classicDocker, containerdDocker, oldPodman, podman, puller] = await Promise.all([
    // Some file systems cannot hold an overlay's upper folder.
    startDockerEngine("overlay2", THIS_MACHINE).catch(() => startDockerEngine("vfs", THIS_MACHINE)),
    startDockerEngine("overlay2", lab),
    startDockerEngine("overlayfs", lab),
    openPodmanStore("overlay", THIS_MACHINE),
    openPodmanStore("overlay", lab),
    openPodmanStore("overlay", lab),
  ]);
  for (const each of [oldDocker, classicDocker, containerdDocker, oldPodman, podman]) resources.use(each);

  const buildx = async (...flags: readonly string[]) => {
    const command = [...containerdDocker.command, "buildx", "build", "--quiet", ...flags, context];
    await runWell(command, { env: containerdDocker.env });
  };
  const classicBuild = [...classicDocker.command, "buildx", "build", "--quiet"];
  await Promise.all([
    oldDocker.docker("build", "--quiet", "--tag", IMAGE, context),
    runWell([...classicBuild, "--tag", IMAGE, context], { env: classicDocker.env }),
    buildx("--provenance=mode=min", "--tag", IMAGE).then(() => {
      // The same config and layers as the other image, and another manifest.
      return buildx("--provenance=false", "--tag", SECOND_IMAGE);
    }),
    ...[oldPodman, podman].map(async (store) => {
      await store.podman(
        "build",
        "--quiet",
        "--annotation",
        "org.example.note=kept",
        "--tag",
        IMAGE,
        context,
      );
      await store.podman("build", "--quiet", "--label", "second=yes", "--tag", SECOND_IMAGE, context);
    }),
  ]);
  await Promise.all([
    buildx(...BOTH_PLATFORMS, "--provenance=mode=min", "--tag", PLATFORMS_IMAGE),
    podman.podman("build", "--quiet", ...BOTH_PLATFORMS, "--manifest", PLATFORMS_IMAGE, context),
  ]);
  await pullOnePlatform(podman, containerdDocker, context);
  const owned = resources.move();
  return {
    folder,
    oldDocker,
    classicDocker,
    containerdDocker,
    oldPodman,
    podman,
    puller,
    context,
    lab: async (...command) => (await runWell([...lab.enter, ...command], { env: podman.env })).trim(),
    buildx,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function pullOnePlatform(podman: PodmanStore, docker: DockerEngine, context: string): Promise<void> {
  await using registry = await startDockerRegistry();
  const reference = `${registry.host}/${PULLED_IMAGE}`;
  // The engine does not fetch a layer that it has unpacked already, and then cannot push it.
  const file = ["--file", join(context, "Dockerfile.pulled")];
  await podman.podman("build", "--quiet", ...BOTH_PLATFORMS, ...file, "--manifest", PULLED_IMAGE, context);
  const flags = ["--quiet", "--all", "--tls-verify=false"];
  await podman.podman("manifest", "push", ...flags, PULLED_IMAGE, `docker://${reference}`);
  await docker.docker("pull", "--quiet", reference);
  await docker.docker("tag", reference, PULLED_IMAGE);
}

async function writeContext(context: string): Promise<void> {
  await Bun.write(join(context, "small.tar"), layerOf("etc/hello", "hello\n"));
  await Bun.write(join(context, "lines.tar"), layerOf("data/lines", "every line is the same\n".repeat(2000)));
  // The label has what some writers of JSON escape.
  const lines = [
    "FROM scratch",
    "ADD small.tar /",
    "ADD lines.tar /",
    'LABEL title="<a> & b"',
    'CMD ["/none"]',
  ];
  await Bun.write(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
  await Bun.write(join(context, "pulled.tar"), layerOf("data/pulled", "only the pulled image has it\n"));
  await Bun.write(join(context, "Dockerfile.pulled"), "FROM scratch\nADD pulled.tar /\n");
}
