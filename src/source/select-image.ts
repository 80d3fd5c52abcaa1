import { PushError } from "../errors.ts";
import type { Image } from "../oci/image.ts";

/** An image that a source lists. `load` reads it. */
export type SavedImage = {
  readonly names: readonly string[];
  /** Identifies the image for the user, beside its names. */
  readonly describe: string;
  load(): Promise<Image>;
};

/**
 * Selects the image to push: the only one, or the only one with a wanted name. Throws `SOURCE_AMBIGUOUS` with the
 * choices, and `IMAGE_INVALID` if there is no image.
 */
export function selectImage(
  images: readonly SavedImage[],
  wanted: readonly string[],
  title: string,
): SavedImage {
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
