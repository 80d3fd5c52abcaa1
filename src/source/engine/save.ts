import { endOf, startEngine } from "./command.ts";
import type { Engine } from "./engine.ts";
import { engineFailure } from "./failures.ts";
import type { EngineImage } from "./inspect.ts";

/** What is wanted of an image in containerd's store. */
export type SaveOptions = {
  /** Such as `linux/arm64`. Empty: what the engine saves by itself. */
  readonly platforms: readonly string[];
  readonly allPlatforms: boolean;
};

/**
 * Streams the archive that an engine writes. A reader that stops ends its command. Throws `ENGINE_FAILED`.
 *
 * @param name what the user calls the image
 */
export function saveEngineImage(
  image: EngineImage,
  name: string,
  engine: Engine,
  options: SaveOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  return saveStream(["image", "save", ...saveArguments(image, name, engine, options)], name, engine);
}

/** Streams what a command of an engine writes to save an image, in the same way. */
export async function* saveStream(
  args: readonly string[],
  name: string,
  engine: Engine,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const child = startEngine(args, engine);
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
function saveArguments(
  { id, names }: EngineImage,
  name: string,
  { runtime }: Engine,
  { platforms, allPlatforms }: SaveOptions,
): readonly string[] {
  // Docker with the containerd store takes bare hex digits for the name of a repository. It saves all platforms that it
  // has, and with --platform (from 28 on) no index.
  if (runtime !== "nerdctl") return [id];
  // By itself nerdctl saves this machine's platform. It pulls what is not there, and keeps the index.
  const flags = allPlatforms ? ["--all-platforms"] : platforms.flatMap((each) => ["--platform", each]);
  return [...flags, "--", names[0] ?? name];
}
