import { basename } from "node:path";
import { PushError } from "../errors.ts";
import { nameWithoutHost } from "../oci/image-name.ts";
import {
  formatRegistry,
  formatTarget,
  parseReference,
  type Reference,
  type Registry,
} from "../oci/reference.ts";
import { commandLine } from "../program-name.ts";
import { namesOfSource } from "../push/source-names.ts";
import { askLine, chooseImage, chooseOne, mayAsk } from "./choose.ts";
import { findSource } from "./find-source.ts";
import type { PushCommand, Targetless } from "./invocation.ts";
import { readLastTargets } from "./last-targets.ts";

/** A longer list is hard to read. */
const MAX_CHOICES = 8;

const EXAMPLE: Registry = { scheme: undefined, host: "registry.example.com" };

/**
 * Completes a push that names no target. At a terminal, a person chooses one: the source's name at the registries of the last
 * pushes, or one of the last targets. Throws `USAGE` with the full command where nobody can be asked, `REFERENCE_INVALID`
 * for a text that is neither a source nor a target, and what opening the source throws.
 *
 * @param words those of the command, such as `plan`
 */
export async function chooseTarget(
  parsed: Targetless,
  process: Pick<NodeJS.Process, "env" | "stderr">,
  stop: AbortSignal,
  words: readonly string[],
): Promise<PushCommand> {
  const { env } = process;
  const isAsked = mayAsk(process, parsed.choice.progress);
  const source = parsed.source ?? (await findSource());
  let wasChosen = false;
  const choose = (choices: readonly string[], signal: AbortSignal) => {
    wasChosen = true;
    return chooseImage(choices, signal);
  };
  const named =
    source === undefined || source === "-"
      ? undefined
      : await namesOfSource({
          ...parsed.choice,
          source,
          environment: env,
          isEngineAsked: isAsked,
          signal: stop,
          choose: isAsked ? choose : undefined,
        });
  if (source === undefined || (named === undefined && source !== "-")) throw parsed.reason;
  const own = named?.names.flatMap((name) => nameWithoutHost(name) ?? [])[0];
  // The name of a default source says nothing.
  const path = parsed.source === undefined ? undefined : named?.path;
  const name = own ?? (path === undefined ? undefined : nameOfFile(path));
  const suggested = suggestions(name, parsed.registry, readLastTargets(env));
  const example = suggested[0] ?? `${formatRegistry(parsed.registry ?? EXAMPLE)}/${name ?? "my/app:v1"}`;
  const note = name === own ? "" : " The suggested name is that of the file.";
  const title = source === "-" ? "standard input" : `"${source}"`;
  const chosen = isAsked
    ? await askForTarget(`Where do you want to push ${title}?${note}`, suggested, example, stop)
    : undefined;
  if (chosen !== undefined) {
    const command = parsed.complete(chosen);
    // The image that was chosen is pushed, whatever the target's name.
    const image = wasChosen ? named?.names[0] : undefined;
    return image === undefined ? command : { ...command, image };
  }
  const written = parsed.source === undefined ? [] : [source];
  throw new PushError("USAGE", `No target was named for ${title}.${note}`, {
    hint: `Use: ${commandLine(...words, ...written, example)}`,
  });
}

/** Lists targets, the most likely first. @param last the targets of the last pushes */
function suggestions(
  name: string | undefined,
  registry: Registry | undefined,
  last: readonly Reference[],
): string[] {
  const registries = registry === undefined ? last : [registry];
  const named = name === undefined ? [] : registries.map((each) => `${formatRegistry(each)}/${name}`);
  const others = registry === undefined ? last.map(formatTarget) : [];
  const all = [...named, ...others].filter(isTarget);
  const withoutScheme = all.map((target) => target.replace(/^https?:\/\//, ""));
  // The scheme that was used last is the one that works.
  return all.filter((_, i) => withoutScheme.indexOf(withoutScheme[i] ?? "") === i).slice(0, MAX_CHOICES);
}

function isTarget(text: string): boolean {
  return problemOfTarget(text) === undefined;
}

/** Guesses an image's name from the file that `save` would write: `nginx_latest.tar` is `nginx:latest`. */
function nameOfFile(path: string): string | undefined {
  const stem = basename(path).replace(/(?:\.(?:tar|oci))?(?:\.(?:tar|tgz|gz|zst|zstd))?$/i, "");
  return nameWithoutHost(stem.toLowerCase().replace(/_(?=[^_]+$)/, ":"));
}

/** Undefined if nobody can be asked. */
async function askForTarget(
  question: string,
  suggested: readonly string[],
  example: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (suggested.length === 0) return askLine(question, { placeholder: example }, problemOfTarget, signal);
  const chosen = await chooseOne(question, [...suggested, "another target …"], signal);
  if (chosen === undefined || suggested[chosen] !== undefined) return suggested[chosen ?? -1];
  return askLine(question, { initialValue: example }, problemOfTarget, signal);
}

function problemOfTarget(text: string): string | undefined {
  try {
    parseReference(text);
    return undefined;
  } catch (error) {
    if (!(error instanceof PushError)) throw error;
    return [error.message, error.hint].filter(Boolean).join(" ");
  }
}
