import { open } from "node:fs/promises";
import { distance } from "fastest-levenshtein";
import { PushError } from "../errors.ts";
import { fileError, OTHER_CACHE } from "../file-error.ts";

const SUGGESTIONS = 3;

/** An image that an engine has. */
export type EngineImage = {
  readonly names: readonly string[];
  /** When it was built, as the engine says: ISO 8601. */
  readonly created: string;
  /** About what saving it will write. */
  readonly sizeBytes: number;
};

/**
 * Looks an image up in the engine that the `docker` command reaches: `DOCKER_HOST` and contexts just work.
 * Throws `ENGINE_MISSING`, `ENGINE_UNREACHABLE`, or `IMAGE_NOT_FOUND` with the nearest names.
 */
export async function inspectEngineImage(name: string, signal: AbortSignal): Promise<EngineImage> {
  const format = '{{join .RepoTags ","}}\t{{.Created}}\t{{.Size}}';
  const inspected = await docker(["image", "inspect", "--format", format, name], signal);
  if (inspected.exitCode === 0) {
    const [names = "", created = "", size = "0"] = inspected.stdout.trim().split("\t");
    return { names: names.split(",").filter(Boolean), created, sizeBytes: Number(size) || 0 };
  }
  if (!/no such image/i.test(inspected.stderr)) throw engineFailure(inspected.stderr, `look for "${name}"`);
  throw await imageNotFound(name, signal);
}

/**
 * Writes an image into an archive, as `docker save` does.
 *
 * @param onProgress told how many bytes are written
 */
export async function saveEngineImage(
  name: string,
  archivePath: string,
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void,
): Promise<void> {
  // The engine may be silent for long before its first byte.
  onProgress(0);
  const child = startDocker(["image", "save", name], signal);
  const stderr = child.stderr.text();
  await writeCounted(child.stdout, archivePath, onProgress);
  const exitCode = await child.exited;
  signal.throwIfAborted();
  if (exitCode !== 0) throw engineFailure(await stderr, `save "${name}"`);
}

async function writeCounted(
  bytes: ReadableStream<Uint8Array>,
  path: string,
  onProgress: (doneBytes: number) => void,
): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    let doneBytes = 0;
    for await (const piece of bytes) {
      await file.writeFile(piece);
      doneBytes += piece.length;
      onProgress(doneBytes);
    }
  } catch (cause) {
    throw fileError(cause, `save the image to "${path}"`, OTHER_CACHE);
  } finally {
    await file.close();
  }
}

type DockerResult = { readonly exitCode: number; readonly stdout: string; readonly stderr: string };

async function docker(args: readonly string[], signal: AbortSignal): Promise<DockerResult> {
  const child = startDocker(args, signal);
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  signal.throwIfAborted();
  // Ctrl-C reaches every process of the terminal, and docker may be the first to end of it.
  if (exitCode === 130) throw new PushError("INTERRUPTED", "Interrupted.");
  return { exitCode, stdout, stderr };
}

function startDocker(args: readonly string[], signal: AbortSignal) {
  const command = Bun.which("docker");
  if (command === null) {
    throw new PushError(
      "ENGINE_MISSING",
      "Cannot read the image from an engine: there is no docker command on this machine.",
      {
        hint: 'Save the image where there is one, "docker save my/app:v1 --output output.tar", and push from the folder that has output.tar.',
      },
    );
  }
  // The registry's password is no business of docker's, nor of its plugins.
  const { REGISTRY_JWT_TOKEN: _, ...env } = process.env;
  return Bun.spawn([command, ...args], {
    env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    signal,
  });
}

function engineFailure(stderr: string, action: string): PushError {
  const said = stderr.trim().split("\n").slice(-3).join(" ").slice(0, 500);
  if (
    /cannot connect|is the docker daemon running|failed to connect|connection refused|permission denied/i.test(
      said,
    )
  ) {
    return new PushError(
      "ENGINE_UNREACHABLE",
      `Cannot ${action}: the Docker engine does not answer: ${said}`,
      {
        hint: 'Start it, or check DOCKER_HOST and "docker context ls". An archive works without an engine: put output.tar into this folder.',
      },
    );
  }
  return new PushError("ENGINE_FAILED", `Cannot ${action}: docker said: ${said}`);
}

async function imageNotFound(name: string, signal: AbortSignal): Promise<PushError> {
  const listed = await docker(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], signal);
  const nearest = nearestNames(
    name,
    listed.stdout.split("\n").filter((line) => line !== "" && !line.includes("<none>")),
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

/** The names that a person may have meant: the same last part counts for more than a registry in front. */
export function nearestNames(wanted: string, names: readonly string[]): string[] {
  const lastPart = (name: string) => name.slice(name.lastIndexOf("/") + 1);
  const farness = (name: string) => distance(lastPart(wanted), lastPart(name)) * 4 + distance(wanted, name);
  return [...names].sort((a, b) => farness(a) - farness(b)).slice(0, SUGGESTIONS);
}
