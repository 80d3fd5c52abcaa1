import { PushError } from "../errors.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { assertNotEmpty } from "./values.ts";

/** Reads the name of an image at the target's registry. Throws `USAGE` for another registry, and `REFERENCE_INVALID`. */
export function imageAt({ host }: Reference, text: string): { repository: string; tag: string } {
  assertNotEmpty(text, "--cache-from");
  const image = parseNamedReference("--cache-from", text);
  if (image.host === host) return { repository: image.repository, tag: image.tag };
  throw new PushError(
    "USAGE",
    `--cache-from names an image at ${image.host}, but the push goes to ${host}.`,
    { hint: "Layers can be taken over inside one registry only." },
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
