import { distance } from "fastest-levenshtein";
import * as v from "valibot";
import { PushError } from "../../errors.ts";
import { parseDiffId, parseDigest } from "../../oci/digest.ts";
import { DIFF_IDS } from "../../oci/image.ts";
import { platformName } from "../../oci/image-index.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import type { InspectedImage } from "../resolve-image.ts";
import { isOwnName } from "./own-names.ts";

const SUGGESTIONS = 3;

/** The first line of Podman's `docker` command. */
const PODMAN_GREETING = /^Emulate Docker CLI using podman/;

export type Environment = Readonly<Record<string, string | undefined>>;

const UNREACHABLE =
  /cannot connect|is the docker daemon running|failed to connect|connection refused|permission denied/i;

/** How the `docker` command is run. */
export type Engine = { readonly environment: Environment; readonly signal: AbortSignal };

/** An image that an engine has. */
export type EngineImage = InspectedImage & {
  readonly names: readonly string[];
  /** When it was built, as the engine says: ISO 8601. */
  readonly created: string;
  /** The approximate size of a save. Undefined: unknown. */
  readonly sizeBytes: number | undefined;
  /** It is in containerd's store, which has it as registries have it: its ID is the digest of an index or a manifest. */
  readonly isContainerd: boolean;
};

const INSPECTED = v.strictTuple([
  object({
    // Podman leaves the algorithm out.
    Id: v.pipe(v.string(), v.regex(/^(?:sha256:)?[0-9a-f]{64}$/)),
    RepoTags: v.nullish(v.array(v.string())),
    Created: v.fallback(v.string(), ""),
    Size: v.fallback(v.optional(v.pipe(v.number(), v.finite(), v.minValue(0))), undefined),
    // Only containerd stores set it, from engine 28 on. Their size counts unpacked content as well from engine 29 on.
    Descriptor: v.nullish(v.unknown()),
    // That of a containerd store is named for its snapshotter.
    GraphDriver: v.fallback(v.nullish(object({ Name: v.string() })), undefined),
    Os: v.nullish(v.string()),
    Architecture: v.nullish(v.string()),
    Variant: v.nullish(v.string()),
    RootFS: object({ Layers: DIFF_IDS }),
  }),
]);

/**
 * Looks an image up in the engine that the `docker` command reaches: `DOCKER_HOST` and contexts just work.
 * Throws `ENGINE_MISSING`, `ENGINE_UNREACHABLE`, or `IMAGE_NOT_FOUND` with the nearest names.
 */
export async function inspectEngineImage(name: string, engine: Engine): Promise<EngineImage> {
  const inspected = await runDocker(["image", "inspect", name], engine);
  if (inspected.exitCode !== 0) {
    // Podman's command says "image not known".
    if (!/no such image|image not known/i.test(inspected.stderr))
      throw engineFailure(inspected.stderr, `look for "${name}"`, inspected.exitCode);
    throw await imageNotFound(name, engine);
  }
  const title = `what docker says of the image "${name}"`;
  const [image] = parseJson(new TextEncoder().encode(inspected.stdout), INSPECTED, title);
  return {
    id: parseDigest(`sha256:${image.Id.replace("sha256:", "")}`, `Id in ${title}`),
    names: (image.RepoTags ?? []).filter((each) => !isOwnName(each)),
    created: image.Created,
    sizeBytes: image.Descriptor == null ? image.Size : undefined,
    isContainerd: image.Descriptor != null || image.GraphDriver?.Name === "overlayfs",
    platform: platformName({ os: image.Os, architecture: image.Architecture, variant: image.Variant }),
    diffIds: image.RootFS.Layers.map((id) => parseDiffId(id, `RootFS.Layers in ${title}`)),
  };
}

/**
 * Streams the archive that `docker save` writes. A reader that stops ends docker. Throws `ENGINE_FAILED`.
 *
 * @param name for messages. The image is saved by its ID, since a name may mean all tags of a repository
 */
export async function* saveEngineImage(
  { id }: EngineImage,
  name: string,
  engine: Engine,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  // Engines with the containerd store take bare hex digits for the name of a repository.
  const child = startDocker(["image", "save", id], engine);
  const stderr = child.stderr.text();
  let isRead = false;
  try {
    yield* child.stdout;
    isRead = true;
  } finally {
    if (!isRead) child.kill();
  }
  const exitCode = await endOf(child, engine);
  if (exitCode !== 0) throw engineFailure(await stderr, `save "${name}"`, exitCode);
}

/** Runs a docker command to its end. Throws `ENGINE_MISSING`, `INTERRUPTED`, and the signal's reason. */
export async function runDocker(args: readonly string[], engine: Engine) {
  const child = startDocker(args, engine);
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    endOf(child, engine),
  ]);
  return { exitCode, stdout, stderr };
}

/** Waits for docker to end, and returns its exit code. */
async function endOf(child: Bun.Subprocess, { signal }: Engine): Promise<number> {
  const exitCode = await child.exited;
  signal.throwIfAborted();
  // Ctrl-C reaches docker as well, which may end before us.
  if (exitCode === 130) throw new PushError("INTERRUPTED", "Interrupted.");
  return exitCode;
}

function startDocker(args: readonly string[], { environment, signal }: Engine) {
  const command = Bun.which("docker", { PATH: environment["PATH"] ?? "" });
  if (command === null) {
    throw new PushError(
      "ENGINE_MISSING",
      "Cannot read the image from an engine: there is no docker command on this machine.",
      {
        hint: 'Save the image where there is one, "docker save my/app:v1 --output output.tar", and push from the folder that has output.tar.',
      },
    );
  }
  // Neither docker nor its plugins need the registry's password.
  const { REGISTRY_JWT_TOKEN: _, CHUNKPUSH_HEADERS: __, ...env } = environment;
  return Bun.spawn([command, ...args], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe", signal });
}

function engineFailure(stderr: string, action: string, exitCode: number): PushError {
  const said = stderr
    .trim()
    .split("\n")
    .filter((line) => !PODMAN_GREETING.test(line))
    .slice(-3)
    .join(" ")
    .slice(0, 500);
  if (UNREACHABLE.test(said)) {
    return new PushError(
      "ENGINE_UNREACHABLE",
      `Cannot ${action}: the Docker engine does not answer: ${said}`,
      {
        hint: 'Start it, or check DOCKER_HOST and "docker context ls". An archive works without an engine: put output.tar into this folder.',
      },
    );
  }
  if (/no suitable export target|content digest .*not found/i.test(said)) {
    return new PushError("ENGINE_FAILED", `Cannot ${action}: the engine lacks a part of the image: ${said}`, {
      hint: "Pull it again, for the platform that you want: docker pull --platform linux/amd64 NAME",
    });
  }
  if (said !== "") return new PushError("ENGINE_FAILED", `Cannot ${action}: docker said: ${said}`);
  return new PushError(
    "ENGINE_FAILED",
    `Cannot ${action}: docker ended with ${exitCode}, and said nothing.`,
    {
      hint: "It may have been killed, for want of memory say. Push again: the layers that are done are kept.",
    },
  );
}

async function imageNotFound(name: string, engine: Engine): Promise<PushError> {
  const listed = await runDocker(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], engine);
  const nearest = nearestNames(
    name,
    listed.stdout.split("\n").filter((line) => line !== "" && !line.includes("<none>") && !isOwnName(line)),
  );
  const near = nearest[0] ?? "my/app:v1";
  return new PushError(
    "IMAGE_NOT_FOUND",
    `The Docker engine has no image "${name}".${nearest.length > 0 ? ` The nearest it has: ${nearest.join(", ")}.` : ""}`,
    {
      hint: `Name the image before the target, "bun run index.ts ${near} TARGET", or give it that name: "docker tag ${near} ${name}".`,
    },
  );
}

/** Finds the nearest names. The last part of a name counts more than the registry in front. */
export function nearestNames(wanted: string, names: readonly string[]): string[] {
  const lastPart = (name: string) => name.slice(name.lastIndexOf("/") + 1);
  const farness = (name: string) => distance(lastPart(wanted), lastPart(name)) * 4 + distance(wanted, name);
  return [...new Set(names)].sort((a, b) => farness(a) - farness(b)).slice(0, SUGGESTIONS);
}
