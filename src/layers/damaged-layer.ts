import { PushError } from "../errors.ts";
import { type DiffId, type Digest, shortDigest } from "../oci/digest.ts";

/**
 * A layer whose bytes are not those that its name stands for.
 *
 * @param name the layer's, as its source has it
 */
export function damagedLayer(name: string, expected: DiffId | Digest, found: Digest): PushError {
  return new PushError(
    "CONTENT_MISMATCH",
    `Cannot push: the layer "${name}" is damaged: it should be ${shortDigest(expected)}, but is ${shortDigest(found)}.`,
    { hint: "Save the image again." },
  );
}
