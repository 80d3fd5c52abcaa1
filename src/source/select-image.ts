import { PushError } from "../errors.ts";
import type { Content } from "../oci/content.ts";
import type { Digest } from "../oci/digest.ts";
import { bestNamed } from "../oci/image-name.ts";
import { ofPlatform } from "../oci/platform.ts";
import { choiceFlags } from "./choice-flags.ts";
import type { Missing } from "./files/content.ts";

/** Enough to see how the others are chosen. */
const MAX_SHOWN_FLAGS = 5;

/** What a source lists to be pushed: an image, an index, or another artifact. `read` opens it. */
export type Candidate = {
  readonly names: readonly string[];
  /** All by which it is known, its manifest's first. */
  readonly digests: readonly Digest[];
  /** Such as `linux/amd64`, if the source lists it. */
  readonly platform: string | undefined;
  read(): Promise<Content | Missing>;
};

export type ImageChoice = {
  /** A name as the source has it, or a digest. */
  readonly image: string | undefined;
  /** The target's names, which select an image if no other is named. */
  readonly targets: readonly string[];
  readonly platforms: readonly string[];
  /** Asks which one is meant. Undefined: nobody can be asked. */
  readonly choose: ((choices: readonly string[]) => Promise<number | undefined>) | undefined;
};

/**
 * Selects what to push: what is named, or the only one there is, or the one whose name fits the target best. Throws
 * `SOURCE_AMBIGUOUS` and `IMAGE_NOT_FOUND` with the choices, and `IMAGE_INVALID` if there is none.
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

/** Those that fit the targets best, or all if none does. */
function fitting(candidates: readonly Candidate[], targets: readonly string[]): readonly Candidate[] {
  if (candidates.length === 1) return candidates;
  const named = bestNamed(candidates, targets);
  return named.length === 0 ? candidates : named;
}

/** Entries of one layout may be the platforms of one image. Several platforms are parts of an index. */
function ofPlatforms(candidates: readonly Candidate[], platforms: readonly string[]): readonly Candidate[] {
  const [platform = "", ...others] = platforms;
  if (others.length > 0 || candidates.length === 1) return candidates;
  const found = ofPlatform(candidates, platform);
  return found.length === 0 ? candidates : found;
}

function describe({ names, digests, platform }: Candidate): string {
  return [names.join(", "), digests[0], platform].filter(Boolean).join("  ");
}
