import { PushError } from "../errors.ts";
import { formatPinned, isTag, parseReference, type Reference } from "../oci/reference.ts";
import { commandLine } from "../program-name.ts";
import { parseTarget } from "./parse-target.ts";
import { assertNotEmpty } from "./values.ts";

/**
 * Reads the source of a push without a target: its only argument, unless that is a target. Undefined if there is a
 * target. `reason` is the error to throw if the argument is no source either.
 *
 * @param words those of the command, such as `plan`
 */
export function sourceAlone(
  positionals: readonly string[],
  tags: readonly string[] | undefined,
  words: readonly string[],
): { readonly source: string | undefined; readonly reason: PushError } | undefined {
  if (tags !== undefined || positionals.length > 1) return undefined;
  const [source] = positionals;
  if (source === undefined) return { source, reason: noTarget(words) };
  try {
    parseTarget(source);
    return undefined;
  } catch (reason) {
    if (!(reason instanceof PushError)) throw reason;
    return { source, reason };
  }
}

function noTarget(words: readonly string[] = []): PushError {
  return new PushError("USAGE", "No target was named.", {
    hint: `Say where the image goes: ${commandLine(...words, "registry.example.com/my/app:v1")}`,
  });
}

/**
 * Reads the source and the targets. The target is the last argument, or those of `--tag`. Throws `USAGE` and
 * `REFERENCE_INVALID`.
 */
export function sourceAndTargets(
  positionals: readonly string[],
  tags: readonly string[] | undefined,
): { source: string | undefined; targets: [Reference, ...Reference[]] } {
  const [source, target] =
    tags !== undefined || positionals.length > 1 ? positionals : [undefined, ...positionals];
  if (tags !== undefined && target !== undefined) {
    throw new PushError("USAGE", "With --tag, the only argument is the source, but there are two.", {
      hint: "Name every target with --tag.",
    });
  }
  const [first, ...others] = (tags ?? (target === undefined ? [] : [target])).map(parseTarget);
  if (first === undefined) {
    throw noTarget();
  }
  const targets: [Reference, ...Reference[]] = [first, ...others];
  for (const [i, each] of targets.entries()) {
    const before = targets.slice(0, i);
    if (before.some((other) => formatPinned(other) === formatPinned(each)))
      throw new PushError("USAGE", `"${formatPinned(each)}" is named twice.`, { hint: "Name it once." });
    if (before.some((other) => other.host === each.host && other.scheme !== each.scheme)) {
      throw new PushError("USAGE", `The targets name ${each.host} with and without a scheme, or with two.`, {
        hint: "Write https://, http:// or no scheme in front of all of them.",
      });
    }
  }
  return { source, targets };
}

/**
 * Reads the value of `--cache-from`: a full reference, or a tag of the target's repository. Throws `REFERENCE_INVALID`,
 * and `USAGE` for another registry.
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

/** Parses a reference. The error names the flag. */
function parseNamedReference(name: string, text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    const { code, hint = "" } = error;
    throw new PushError(code, error.message.replace(/^Cannot push:/, `${name}:`), { hint, cause: error });
  }
}
