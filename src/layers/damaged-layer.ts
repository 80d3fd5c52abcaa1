import { PushError } from "../errors.ts";
import { type DiffId, type Digest, shortDigest } from "../oci/digest.ts";

/**
 * Creates the error for a layer whose bytes do not match its digest or diffID.
 *
 * @param name the layer's name in its source
 */
export function damagedLayer(name: string, expected: DiffId | Digest, found: Digest): PushError {
  return new PushError(
    "CONTENT_MISMATCH",
    `Cannot push: the layer "${name}" is damaged: it should be ${shortDigest(expected)}, but is ${shortDigest(found)}.`,
    { hint: "Save the image again." },
  );
}
