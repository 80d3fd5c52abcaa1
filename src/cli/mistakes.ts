import { existsSync } from "node:fs";
import { closest, distance } from "fastest-levenshtein";
import { type ErrorCode, PushError } from "../errors.ts";
import { looksLikeHost } from "../oci/reference.ts";
import { commandLine } from "../program-name.ts";
import { isRegistry, isTarget, withoutRepository } from "./parse-target.ts";

const OTHER_TOOLS = /^(?:docker|podman|nerdctl|buildah|skopeo|crane|regctl)$/;
const THEIR_VERBS = /^(?:image|push|copy|cp)$/;

/** The errors that a mistyped command causes when it is read as an image. */
const MISSING: readonly ErrorCode[] = [
  "SOURCE_NOT_FOUND",
  "IMAGE_NOT_FOUND",
  "ENGINE_MISSING",
  "ENGINE_UNREACHABLE",
];

const EXAMPLE = "registry.example.com/my/app:v1";

const ARCHIVE = /\.(?:tar|tgz|tar\.(?:gz|zst|xz|bz2)|zip)$/i;

/**
 * Explains arguments that are no push: what was probably meant. Undefined if they say nothing.
 *
 * @param inFront the words of the command, such as `plan`
 */
export function explainArguments(
  words: readonly string[],
  commands: readonly string[],
  inFront: readonly string[] = [],
): PushError | undefined {
  const [first = "", second = ""] = words;
  // A word with an @ may contain a password.
  if (words.some((word) => word.includes("@"))) return undefined;
  if (OTHER_TOOLS.test(first) && THEIR_VERBS.test(second)) {
    const count = words[2] === "push" ? 3 : 2;
    const rest = words.slice(count);
    return usage(
      `"${words.slice(0, count).join(" ")}" does not belong here.`,
      `Leave it out: ${commandLine(...inFront, ...(rest.length > 0 ? rest : [EXAMPLE]))}`,
    );
  }
  if (words.length === 2 && isTarget(first) && isSource(second)) {
    return usage(
      isLocal(second) ? "Source and target are swapped." : `The target "${second}" has no registry host.`,
      `The target comes last. Did you mean: ${commandLine(...inFront, second, first)}`,
    );
  }
  const command = explainCommand(first, commands);
  if (command !== undefined || words.length !== 1 || first === "" || /\/|:$/.test(first)) return command;
  return explainWord(first, inFront);
}

/** Explains a word that is nearly a command. */
export function explainCommand(first: string, commands: readonly string[]): PushError | undefined {
  if (commands.length === 0 || !/^[a-z]{3,}$/i.test(first)) return undefined;
  const nearest = closest(first.toLowerCase(), [...commands]);
  const typos = distance(first.toLowerCase(), nearest);
  const hasSameLetters = [...first].sort().join() === [...nearest].sort().join();
  // Two mistakes in a short word make another word.
  if (typos > (first.length > 4 || hasSameLetters ? 2 : 1)) return undefined;
  return usage(`There is no command "${first}".`, `Did you mean "${nearest}"?`);
}

/** Adds the nearest command to the error of a source that does not exist. Returns any other error unchanged. */
export function orCommand(error: unknown, source: string | undefined, commands: readonly string[]): unknown {
  const isMissing = error instanceof PushError && MISSING.includes(error.code);
  const command = isMissing && source !== undefined ? explainCommand(source, commands) : undefined;
  if (!isMissing || command === undefined) return error;
  const { code, message, details, said, hint = "" } = error;
  return new PushError(code, message, {
    hint: `${hint} ${command.hint}`.trim(),
    details,
    said,
    cause: error,
  });
}

/** Explains the only argument, which has no slash: a registry, a file or an image. */
function explainWord(word: string, inFront: readonly string[]): PushError {
  if (ARCHIVE.test(word)) {
    return usage(
      `"${word}" is neither a file in this folder nor a target.`,
      `A target looks like this: ${commandLine(...inFront, word, EXAMPLE)}`,
    );
  }
  if (isRegistry(word)) return withoutRepository(word);
  if (word === "version" && inFront.length === 0)
    return usage('There is no command "version".', `Use: ${commandLine("--version")}`);
  return usage(
    `"${word}" is ${inFront.length === 0 ? "neither a command nor a target" : "not a target"}.`,
    `For an image of this name: ${commandLine(...inFront, word, `registry.example.com/${word}`)}. For help: ${commandLine("help", ...inFront)}`,
  );
}

/** Reports whether text reads as a source alone. */
function isSource(text: string): boolean {
  const [host = ""] = text.replace(/^\w+:\/\//, "").split("/");
  return text !== "" && !isTarget(text) && (isLocal(text) || !looksLikeHost(host) || !text.includes("/"));
}

function isLocal(text: string): boolean {
  return /^(?:\.{0,2}\/|~)/.test(text) || ARCHIVE.test(text) || existsSync(text);
}

function usage(message: string, hint: string): PushError {
  return new PushError("USAGE", message, { hint });
}
