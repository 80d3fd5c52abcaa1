import { PushError, RESUME } from "../../errors.ts";
import { PROGRAM_NAME } from "../../program-name.ts";
import type { Runtime } from "./engine.ts";

/** The engines' names in a sentence, and the remedies when they do not answer. */
const ENGINES: Readonly<Record<Runtime, { readonly title: string; readonly remedy: string }>> = {
  docker: { title: "the Docker engine", remedy: 'Start it, or check DOCKER_HOST and "docker context ls".' },
  podman: {
    title: "Podman",
    remedy: 'Start it, or check CONTAINER_HOST and "podman system connection list".',
  },
  nerdctl: {
    title: "containerd",
    remedy: "Start it, or check CONTAINERD_ADDRESS. Without root, it has to be a rootless containerd.",
  },
};

/** Returns an engine's name in a sentence. */
export function engineTitle(runtime: Runtime): string {
  return ENGINES[runtime].title;
}

/** The first line of Podman's `docker` command. */
const PODMAN_GREETING = /^Emulate Docker CLI using podman/;

const UNREACHABLE =
  /cannot connect|is the docker daemon running|failed to connect|connection refused|permission denied|cannot access containerd socket|rootless containerd not running/i;

const LACKS_A_PART = /no suitable export target|content digest .*not found/i;

/** Tells whether an engine said that it does not have the image. */
export function isNotFound(stderr: string): boolean {
  return /no such image|image not known/i.test(stderr);
}

/** Tells whether Podman said that a list has no image for its own platform. */
export function isOtherPlatform(stderr: string): boolean {
  return /no image found in (?:image index|manifest list)/.test(stderr);
}

/** Tells whether a `docker` command is Podman's. */
export function isPodmanGreeting(stderr: string): boolean {
  return stderr.split("\n").some((line) => PODMAN_GREETING.test(line));
}

/** Creates the error for a machine without any of the commands. */
export function engineMissing(runtimes: readonly Runtime[]): PushError {
  const [command = "docker"] = runtimes;
  const commands =
    runtimes.length === 1 ? `${command} is` : `${runtimes.join(", ").replace(/, (?=\w+$)/, " and ")} are`;
  return new PushError(
    "ENGINE_MISSING",
    `Cannot read the image from an engine: ${commands} not installed, or not on PATH.`,
    {
      hint: `Save the image where the engine is, "${command} save my/app:v1 --output image.tar", and push that: "${PROGRAM_NAME} image.tar TARGET".`,
    },
  );
}

/** Creates the error for a command that failed. @param action such as `save "my/app:v1"` */
export function engineFailure(
  { runtime }: { readonly runtime: Runtime },
  { stderr, exitCode }: { readonly stderr: string; readonly exitCode: number },
  action: string,
): PushError {
  const said = whatItSaid(stderr);
  const { title, remedy } = ENGINES[runtime];
  if (UNREACHABLE.test(said)) {
    return new PushError("ENGINE_UNREACHABLE", `Cannot ${action}: ${title} does not answer: ${said}`, {
      hint: `${remedy} An archive can be pushed without an engine: "${PROGRAM_NAME} image.tar TARGET".`,
    });
  }
  if (LACKS_A_PART.test(said)) {
    return new PushError(
      "ENGINE_FAILED",
      `Cannot ${action}: a part of the image is missing in the engine: ${said}`,
      {
        hint: `Pull the image again for the platform that you want: ${runtime} pull --platform linux/amd64 NAME`,
      },
    );
  }
  if (said !== "") return new PushError("ENGINE_FAILED", `Cannot ${action}: ${runtime} said: ${said}`);
  return new PushError(
    "ENGINE_FAILED",
    `Cannot ${action}: ${runtime} exited with code ${exitCode} and no output.`,
    { hint: `It was stopped, possibly because the machine is out of memory. ${RESUME}` },
  );
}

/** Matches the log lines of Podman and nerdctl, such as `time="…" level=fatal msg="…"`. */
const LOGGED = /^time="[^"]*" level=(\w+) msg=(?:"(.*)"|(.*))$/;

/** Joins the last lines of an error that help a person. */
function whatItSaid(stderr: string): string {
  return stderr
    .trim()
    .split("\n")
    .filter((line) => !PODMAN_GREETING.test(line))
    .flatMap((line) => {
      const [, level, quoted, bare] = LOGGED.exec(line) ?? [];
      if (level === undefined) return [line];
      if (/^(?:trace|debug|info|warning)$/.test(level)) return [];
      return [quoted?.replaceAll("\\n", " ").replaceAll('\\"', '"') ?? bare ?? ""];
    })
    .slice(-3)
    .join(" ")
    .slice(0, 500);
}
