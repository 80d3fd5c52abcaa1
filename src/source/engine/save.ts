import { PushError } from "../../errors.ts";
import { type Engine, endOf, startEngine } from "./command.ts";
import { engineFailure } from "./failures.ts";
import type { EngineImage } from "./inspect.ts";

/** What of an image is saved. */
export type SaveOptions = {
  /** Such as `linux/arm64`. Default: what the engine saves by itself: Docker all that it has, nerdctl its own platform. */
  readonly platform?: string | undefined;
  /** All platforms, which nerdctl pulls where they are not there. Docker saves those that it has in any case. */
  readonly allPlatforms?: boolean;
};

/**
 * Streams the archive that an engine writes. A reader that stops ends its command. Throws `ENGINE_FAILED`.
 *
 * @param name what the user calls the image
 */
export async function* saveEngineImage(
  image: EngineImage,
  name: string,
  engine: Engine,
  options: SaveOptions = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const flags = platformFlags(image, name, engine, options);
  const child = startEngine(["image", "save", ...flags, ...imageArgs(image, name, engine)], engine);
  const stderr = child.stderr.text();
  let isRead = false;
  try {
    yield* child.stdout;
    isRead = true;
  } finally {
    if (!isRead) child.kill();
  }
  const exitCode = await endOf(child, engine);
  if (exitCode !== 0) throw engineFailure(engine, { stderr: await stderr, exitCode }, `save "${name}"`);
}

/** A name may mean all tags of a repository, so images are saved by their IDs. nerdctl saves by name alone. */
function imageArgs({ id, names }: EngineImage, name: string, { runtime }: Engine): readonly string[] {
  // Docker with the containerd store takes bare hex digits for the name of a repository.
  return runtime === "nerdctl" ? ["--", names[0] ?? name] : [id];
}

function platformFlags(
  image: EngineImage,
  name: string,
  { runtime }: Engine,
  { platform, allPlatforms = false }: SaveOptions,
): readonly string[] {
  if (allPlatforms) return runtime === "nerdctl" ? ["--all-platforms"] : [];
  if (platform === undefined) return [];
  if (runtime !== "podman") return ["--platform", platform];
  if (platform === image.platform) return [];
  throw new PushError(
    "ENGINE_FAILED",
    `Cannot save "${name}" for ${platform}: Podman has it for ${image.platform ?? "another platform"}.`,
    {
      hint: `Podman has one platform under each name. Pull the other: podman pull --platform ${platform} ${name}`,
    },
  );
}
