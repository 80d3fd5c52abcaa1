import { PushError } from "../errors.ts";
import type { Content } from "../oci/content.ts";
import type { Digest } from "../oci/digest.ts";
import { bestNamed } from "../oci/image-name.ts";
import { ofPlatform } from "../oci/platform.ts";
import { choiceFlags } from "./choice-flags.ts";
import type { Missing } from "./files/content.ts";

/** The number of flags in a hint. They show how to choose the others. */
const MAX_SHOWN_FLAGS = 5;

/** An image, index or other artifact that a source lists. `read` opens it. */
export type Candidate = {
  readonly names: readonly string[];
  /** All digests by which it is known, its manifest's first. */
  readonly digests: readonly Digest[];
  /** Such as `linux/amd64`, if the source lists it. */
  readonly platform: string | undefined;
  read(): Promise<Content | Missing>;
};

export type ImageChoice = {
  /** A name as the source has it, or a digest. */
  readonly image: string | undefined;
  /** The names of the targets, which select an image if the user names none. */
  readonly targets: readonly string[];
  readonly platforms: readonly string[];
  /** Asks the user to choose. Undefined if nobody can be asked. */
  readonly choose: ((choices: readonly string[]) => Promise<number | undefined>) | undefined;
};

/**
 * Selects the candidate to push: the named one, the only one, or the one whose name fits the targets best. Throws
 * `SOURCE_AMBIGUOUS` and `IMAGE_NOT_FOUND` with the choices, and `IMAGE_INVALID` without a candidate.
 */
export async function selectImage(
  candidates: readonly Candidate[],
  { image, targets, platforms, choose }: ImageChoice,
  title: string,
): Promise<Candidate> {
  const [first] = candidates;
  if (first === undefined)
    throw new PushError("IMAGE_INVALID", `Cannot read the ${title}: it lists no images.`);
  const named =
    image === undefined ? fitting(candidates, targets) : bestNamed(candidates, [image], { isExact: true });
  if (named.length === 0) {
    throw new PushError("IMAGE_NOT_FOUND", `The ${title} has no image "${image}". It has:`, {
      details: candidates.map(describe),
    });
  }
  const left = platforms.length === 0 ? named : ofPlatforms(named, platforms);
  const [match] = left;
  if (match !== undefined && left.length === 1) return match;
  const choices = left.length === 0 ? named : left;
  const chosen = await choose?.(choices.map(describe));
  const picked = chosen === undefined ? undefined : choices[chosen];
  if (picked !== undefined) return picked;
  const flags = choices.slice(0, MAX_SHOWN_FLAGS).flatMap((each) => choiceFlags(each, choices) ?? []);
  const several = choices.length < candidates.length ? `, of which ${choices.length} fit` : "";
  throw new PushError(
    "SOURCE_AMBIGUOUS",
    `The ${title} has ${candidates.length} images${several}. Choose the one to push:`,
    {
      details: choices.map(describe),
      ...(flags.length > 0 && { hint: `Add ${flags.join(" or ")}` }),
    },
  );
}

/** Returns the candidates that fit the targets best, or all if none fits. */
function fitting(candidates: readonly Candidate[], targets: readonly string[]): readonly Candidate[] {
  if (candidates.length === 1) return candidates;
  const named = bestNamed(candidates, targets);
  return named.length === 0 ? candidates : named;
}

/** Selects by the platform: a layout may list one image per platform. Several platforms need an index. */
function ofPlatforms(candidates: readonly Candidate[], platforms: readonly string[]): readonly Candidate[] {
  const [platform = "", ...others] = platforms;
  if (others.length > 0 || candidates.length === 1) return candidates;
  const found = ofPlatform(candidates, platform);
  return found.length === 0 ? candidates : found;
}

function describe({ names, digests, platform }: Candidate): string {
  return [names.join(", "), digests[0], platform].filter(Boolean).join("  ");
}
