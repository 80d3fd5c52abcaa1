import { PushError } from "../errors.ts";
import type { Content } from "../oci/content.ts";
import type { Digest } from "../oci/digest.ts";
import type { Missing } from "./files/content.ts";

/** What a source lists to be pushed: an image, an index, or another artifact. */
export type Candidate = {
  readonly names: readonly string[];
  /** Identifies it for the user, beside its names. */
  readonly describe: string;
  /** Undefined if the source has no manifest of it. */
  readonly digest: Digest | undefined;
  readonly platform: string | undefined;
  read(): Promise<Content | Missing>;
};

/**
 * Selects what to push: the only candidate, or the only one with a wanted name. Throws `SOURCE_AMBIGUOUS` with the
 * choices, and `IMAGE_INVALID` if there is none.
 */
export function selectImage(
  images: readonly Candidate[],
  wanted: readonly string[],
  title: string,
): Candidate {
  const [first, ...others] = images;
  if (first === undefined)
    throw new PushError("IMAGE_INVALID", `Cannot read the ${title}: it lists no image.`);
  if (others.length === 0) return first;
  const named = images.filter((image) => image.names.some((name) => wanted.includes(name)));
  const [match] = named;
  if (match !== undefined && named.length === 1) return match;
  const choices = (named.length > 0 ? named : images).map(({ names, describe }) =>
    [names.join(", "), describe].filter(Boolean).join("  "),
  );
  const problem =
    named.length > 0 ? `${named.length} are named like the target` : "none is named like the target";
  throw new PushError("SOURCE_AMBIGUOUS", `The ${title} holds ${images.length} images, and ${problem}:`, {
    details: choices,
    hint: "Save the one that you mean into an archive of its own, or push to a target that has its name.",
  });
}
