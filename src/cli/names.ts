import { PushError } from "../errors.ts";
import { isTag, parseReference, type Reference } from "../oci/reference.ts";
import { assertNotEmpty } from "./values.ts";

/**
 * Reads an image at the target's registry: a full reference, or a bare tag of the target's repository. Throws `USAGE`
 * for another registry, and `REFERENCE_INVALID`.
 */
export function imageAt(target: Reference, text: string): { repository: string; tag: string } {
  assertNotEmpty(text, "--cache-from");
  if (isTag(text)) return { repository: target.repository, tag: text };
  const image = parseNamedReference("--cache-from", text);
  if (image.tag === undefined || image.digest !== undefined)
    throw new PushError("USAGE", "--cache-from names a digest.", { hint: "Name a tag, such as main." });
  if (image.host === target.host) return { repository: image.repository, tag: image.tag };
  throw new PushError(
    "USAGE",
    `--cache-from names an image at ${image.host}, but the push goes to ${target.host}.`,
    { hint: "Layers can be reused inside one registry only." },
  );
}

/** Makes the error say which of two references is wrong. */
function parseNamedReference(name: string, text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    const { code, hint = "" } = error;
    throw new PushError(code, error.message.replace(/^Cannot push:/, `${name}:`), { hint, cause: error });
  }
}
