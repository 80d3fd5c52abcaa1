import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { findEngineImage } from "../source/engine/find-image.ts";
import { isIdOf } from "../source/engine/inspect.ts";
import { isPath, openSource } from "../source/open.ts";
import { parseSource } from "../source/transport.ts";
import type { PushOptions } from "./options.ts";

type NamesOptions = Pick<PushOptions, "image" | "platforms" | "allPlatforms" | "choose" | "runtime"> & {
  readonly source: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Looks for an image of this name in the engines, too. */
  readonly isEngineAsked: boolean;
  readonly signal: AbortSignal;
};

/** An engine that does not answer in this time counts as one without the image. */
const ENGINE_MS = 2000;

/**
 * Returns the names of the image that a source holds: none for an image without a name, or an archive that is compressed.
 * Undefined if the text does not read as a source. Throws what opening the source throws.
 */
export async function namesOfSource(options: NamesOptions): Promise<readonly string[] | undefined> {
  const { source, isEngineAsked, environment, signal, choose } = options;
  const place = parseSource(source);
  if (place.kind === "path" || (place.kind === "any" && (await isPath(source)))) {
    await using opened = await openSource({
      ...options,
      image: options.image,
      targets: [],
      platforms: options.platforms ?? [],
      allPlatforms: options.allPlatforms ?? false,
      choose: choose && ((choices) => choose(choices, signal)),
      engineEnvironment: environment,
    });
    return opened.access === "any" ? opened.names : [];
  }
  if (place.kind !== "engine" && !(place.kind === "any" && isEngineAsked)) return undefined;
  const name = place.kind === "engine" ? place.name : source;
  if (!isEngineAsked) return [name];
  const runtime = place.kind === "engine" ? place.runtime : options.runtime;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ENGINE_MS)]);
  const search = findEngineImage(name, { targets: [], environment, signal: limit, runtime });
  const { image } = (await unlessAborted(search, limit).catch(() => undefined)) ?? {};
  signal.throwIfAborted();
  if (image === undefined) return undefined;
  return isIdOf(name, image) ? image.names : [name];
}
