import { PushError } from "../errors.ts";
import { parseReference, type Reference } from "../oci/reference.ts";

type Repair = {
  readonly find: RegExp;
  readonly problem: string;
  readonly replacement: string;
  /** In scripts, the usual cause is an unset variable. */
  readonly isUnset?: true;
};

/** Mistakes in a target that have one remedy. */
const REPAIRS: readonly Repair[] = [
  { find: /^\s+|\s+$/g, problem: "has white space around it", replacement: "" },
  { find: /^(https?):\/(?!\/)/, problem: "has one slash after the scheme", replacement: "$1://" },
  { find: /^\/+/, problem: "has no registry host", replacement: "", isUnset: true },
  { find: /^oci:\/\//, problem: 'starts with "oci://"', replacement: "" },
  { find: /[?#].*$/s, problem: "has a query or a fragment", replacement: "" },
  {
    find: /^((?:https?:\/\/)?[^/]+)\/v2(\/.*?)?(?:\/(?:manifests|blobs|tags)\/.*)?$/s,
    problem: 'contains "/v2/", the path of the registry\'s API',
    replacement: "$1$2",
  },
  {
    find: /^((?:https?:\/\/)?[^/:]+):(?=\/(?!\/))/,
    problem: "has a colon without a port",
    replacement: "$1",
    isUnset: true,
  },
  { find: /:\/*$/, problem: "has a colon without a tag", replacement: "", isUnset: true },
  { find: /(?<!\/)\/+$/, problem: "ends in a slash", replacement: "" },
  { find: /(?<![:/])\/\/+/g, problem: "has two slashes in a row", replacement: "/", isUnset: true },
  { find: /(:[^/+]*)\+([^/+]*)$/, problem: "has a plus sign in the tag", replacement: "$1_$2" },
];

/**
 * Parses a target. The error suggests a correction. A target may begin with `docker://`, as in skopeo, and has to if
 * its repository begins with `v2/`. Throws `REFERENCE_INVALID`.
 */
export function parseTarget(text: string): Reference {
  if (text === "")
    throw new PushError("REFERENCE_INVALID", "The target is empty.", { hint: "Is a variable unset?" });
  const bare = text.replace(/^docker:\/\//, "");
  const isPlain = bare === text;
  try {
    const reference = parseReference(bare);
    const repair = isPlain && /^v2(?:\/|$)/.test(reference.repository) ? repairOf(text) : undefined;
    if (repair !== undefined) throw repair;
    return reference;
  } catch (error) {
    // Do not quote a text with an @: it may contain a password.
    if (text.includes("@")) throw error;
    throw repairOf(bare) ?? (isRegistry(bare) ? withoutRepository(text, bare) : error);
  }
}

function repairOf(text: string): PushError | undefined {
  const repair = REPAIRS.find(({ find }) => text.search(find) >= 0);
  if (repair === undefined) return undefined;
  const repaired = REPAIRS.reduce((each, { find, replacement }) => each.replace(find, replacement), text);
  if (isRegistry(repaired)) return withoutRepository(text, repaired);
  const variable = repair.isUnset ? " Is a variable unset?" : "";
  const hint = isTarget(repaired)
    ? `Did you mean "${repaired}"?`
    : 'Write HOST/REPOSITORY:TAG, such as "registry.example.com/my/app:v1".';
  return new PushError("REFERENCE_INVALID", `Cannot push: "${text}" ${repair.problem}.`, {
    hint: `${hint}${variable}`,
  });
}

/** Explains a registry where a target should be. */
export function withoutRepository(text: string, registry = text): PushError {
  return new PushError("REFERENCE_INVALID", `"${text}" is a registry without a repository.`, {
    hint: `Add the image's name there: "${registry}/my/app:v1".`,
  });
}

/** Reports whether text is a registry's host, rather than an image's name. */
export function isRegistry(text: string): boolean {
  const [, scheme, host = ""] = /^(https?:\/\/)?([^/]+)$/.exec(text) ?? [];
  const isNamed = scheme !== undefined || /^localhost$|\.|:\d{2,5}$/i.test(host);
  return isNamed && isTarget(`${text}/x`);
}

/** Reports whether text is a target without a mistake. */
export function isTarget(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch {
    return false;
  }
}
