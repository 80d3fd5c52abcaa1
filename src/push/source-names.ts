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

/** The names of a source. */
export type SourceNames = {
  /** The names of its image. Empty for an untagged image, or a compressed archive. */
  readonly names: readonly string[];
  /** The path of a file or folder. */
  readonly path: string | undefined;
};

/** If no engine is asked, a text of this form counts as an image's ID. */
const LOOKS_LIKE_ID = /^(?:sha256:)?[0-9a-f]{12,64}$/;

/** Finds the names of a source. Undefined if the text does not read as one. Throws what opening the source throws. */
export async function namesOfSource(options: NamesOptions): Promise<SourceNames | undefined> {
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
    const path = place.kind === "path" ? place.path : source;
    return { names: opened.access === "any" ? opened.names : [], path };
  }
  if (place.kind !== "engine" && !(place.kind === "any" && isEngineAsked)) return undefined;
  const name = place.kind === "engine" ? place.name : source;
  if (!isEngineAsked) return { names: LOOKS_LIKE_ID.test(name) ? [] : [name], path: undefined };
  const runtime = place.kind === "engine" ? place.runtime : options.runtime;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ENGINE_MS)]);
  const search = findEngineImage(name, { targets: [], environment, signal: limit, runtime });
  const { image } = (await unlessAborted(search, limit).catch(() => undefined)) ?? {};
  signal.throwIfAborted();
  if (image === undefined) return undefined;
  return { names: isIdOf(name, image) ? image.names : [name], path: undefined };
}
