import { distance } from "fastest-levenshtein";
import { PushError } from "../../errors.ts";
import { looksLikeHost } from "../../oci/reference.ts";
import { commandLine } from "../../program-name.ts";
import { runEngine } from "./command.ts";
import { type Engine, type Environment, RUNTIMES, type Runtime } from "./engine.ts";
import { engineMissing, engineTitle } from "./failures.ts";
import { type EngineImage, type Inspection, inspectEngineImage } from "./inspect.ts";
import { isOwnName } from "./own-names.ts";

const SUGGESTIONS = 3;

/** After these errors of one engine, the next one is asked: it may have the image. */
const SKIPPED: readonly unknown[] = ["ENGINE_MISSING", "ENGINE_UNREACHABLE", "ENGINE_FAILED"];

type SearchOptions = {
  /** The targets of the push, for messages. */
  readonly targets: readonly string[];
  readonly environment: Environment;
  readonly signal: AbortSignal;
  /** The only engine to ask. @default all; the first that has the image wins */
  readonly runtime?: Runtime | undefined;
};

/**
 * Finds the engine that has an image: docker, podman or nerdctl, in that order. Throws `IMAGE_NOT_FOUND` with the nearest
 * names, `ENGINE_UNREACHABLE`, `ENGINE_MISSING`, and what `inspectEngineImage` throws.
 */
export async function findEngineImage(
  name: string,
  options: SearchOptions,
): Promise<Inspection<EngineImage>> {
  const { targets, environment, signal, runtime } = options;
  const rest = new AbortController();
  const runtimes = runtime === undefined ? RUNTIMES : [runtime];
  const searches = runtimes.map((each) => {
    const ended = AbortSignal.any([signal, rest.signal]);
    const search = inspectEngineImage(name, { runtime: each, command: each, environment, signal: ended });
    // It is awaited later, or never.
    search.catch(() => undefined);
    return search;
  });
  const answered: Engine[] = [];
  const failures: PushError[] = [];
  try {
    for (const search of searches) {
      const answer = await search.catch((error: unknown) => {
        if (!(error instanceof PushError && SKIPPED.includes(error.code))) throw error;
        failures.push(error);
      });
      if (answer === undefined) continue;
      const { image } = answer;
      const engine = { ...answer.engine, signal };
      if (image !== undefined) return { engine, image };
      answered.push(engine);
    }
  } finally {
    rest.abort();
  }
  throw await imageNotFound({ name, targets }, answered, failures, runtimes);
}

/** Creates the error for an image that no engine has. */
async function imageNotFound(
  { name, targets }: { readonly name: string; readonly targets: readonly string[] },
  answered: readonly Engine[],
  failures: readonly PushError[],
  runtimes: readonly Runtime[],
): Promise<PushError> {
  const others = failures.filter(({ code }) => code !== "ENGINE_MISSING");
  const describe = (error: PushError) => [error.message, error.hint].filter(Boolean).join(" ");
  if (answered.length === 0) {
    const [first, ...more] = others;
    if (first === undefined) return engineMissing(runtimes);
    const { code, message, hint } = first;
    return new PushError(code, message, { hint, details: more.map(describe) });
  }
  const lists = await Promise.all(answered.map((engine) => namesIn(engine)));
  // Suggest an image that two engines have for the first of them.
  const owners = new Map<string, Runtime>();
  for (const [each, command] of lists.flat()) if (!owners.has(each)) owners.set(each, command);
  const nearest = nearestNames(name, [...owners.keys()]);
  const titles = [...new Set(answered.map(({ runtime }) => engineTitle(runtime)))];
  const isAlone = titles.length === 1;
  const shown = nearest.map((each) => (isAlone ? each : `${each} (${owners.get(each)})`)).join(", ");
  const subject = isAlone
    ? `${titles[0]?.replace(/^the/, "The")} has no`
    : `Neither ${titles.join(" nor ")} has an`;
  const [near] = nearest;
  const places = targets.length === 1 ? targets : targets.flatMap((target) => ["-t", target]);
  const isUnnamed = targets.includes(name);
  const push = (source: string) => `"${commandLine(source, ...places)}"`;
  const otherName = isUnnamed
    ? `, or give it that name: "${near && owners.get(near)} tag ${near} ${name}"`
    : "";
  const isElsewhere = !isUnnamed && hasRegistry(name);
  const hints = [
    ...(isElsewhere ? [`Push it from its registry: ${push(`docker://${name}`)}.`] : []),
    near === undefined
      ? `${isElsewhere ? "Or build" : "Build"} or pull the image first.`
      : `Push the nearest: ${push(near)}${otherName}.`,
  ];
  return new PushError(
    "IMAGE_NOT_FOUND",
    `${subject} image "${name}".${shown === "" ? "" : ` The nearest ${nearest.length === 1 ? "name is" : "names are"} ${shown}.`}`,
    {
      ...(targets.length > 0 && { hint: hints.join(" ") }),
      details: others.map(describe),
    },
  );
}

/** Reports whether a name has a registry in front. `localhost/` is what Podman puts there for images of its own. */
function hasRegistry(name: string): boolean {
  const [host = "", ...path] = name.split("/");
  return path.length > 0 && host !== "localhost" && looksLikeHost(host);
}

/** Lists the names of an engine's images, each with the command that has it. */
export async function namesIn(engine: Engine): Promise<[name: string, command: Runtime][]> {
  const listed = await runEngine(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], engine);
  const names = listed.stdout.split("\n");
  return names
    .filter((line) => line !== "" && !line.includes("<none>") && !isOwnName(line))
    .map((line) => [line, engine.command]);
}

/** Finds the nearest names. The last part of a name counts more than the registry in front. */
export function nearestNames(wanted: string, names: readonly string[]): string[] {
  const lastPart = (name: string) => name.slice(name.lastIndexOf("/") + 1);
  const farness = (name: string) => distance(lastPart(wanted), lastPart(name)) * 4 + distance(wanted, name);
  return [...new Set(names)].sort((a, b) => farness(a) - farness(b)).slice(0, SUGGESTIONS);
}
