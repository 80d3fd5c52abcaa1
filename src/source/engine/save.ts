import { endOf, startEngine } from "./command.ts";
import type { Engine } from "./engine.ts";
import { engineFailure } from "./failures.ts";
import type { EngineImage } from "./inspect.ts";

/** The platforms to save of an image in a containerd store. */
export type SaveOptions = {
  /** Such as `linux/arm64`. Empty for the engine's default. */
  readonly platforms: readonly string[];
  readonly allPlatforms: boolean;
};

/**
 * Streams the archive of an engine's image. Kills the command if the caller stops reading. Throws `ENGINE_FAILED`.
 *
 * @param name the image's name as the user wrote it
 */
export function saveEngineImage(
  image: EngineImage,
  name: string,
  engine: Engine,
  options: SaveOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  return saveStream(["image", "save", ...saveArguments(image, name, engine, options)], name, engine);
}

/** Streams the output of an engine's save command. Kills it if the caller stops reading. Throws `ENGINE_FAILED`. */
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
  // Docker with the containerd store reads bare hex digits as a repository's name. It saves all platforms that it has;
  // with --platform (from 28 on) it leaves out the index.
  if (runtime !== "nerdctl") return [id];
  // nerdctl saves this machine's platform by default. It pulls missing content, and keeps the index.
  const flags = allPlatforms ? ["--all-platforms"] : platforms.flatMap((each) => ["--platform", each]);
  return [...flags, "--", names[0] ?? name];
}
