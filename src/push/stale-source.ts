import { stat } from "node:fs/promises";
import { PushError } from "../errors.ts";
import { knownDate } from "../format.ts";
import type { Content } from "../oci/content.ts";
import { isNamedOtherwise } from "../oci/image-name.ts";
import { formatPinned, formatReference, formatTarget, type Reference } from "../oci/reference.ts";
import { commandLine } from "../program-name.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import type { NewerImage } from "../report/events.ts";
import { type Engine, RUNTIMES } from "../source/engine/engine.ts";
import { engineTitle } from "../source/engine/failures.ts";
import { inspectEngineImage } from "../source/engine/inspect.ts";
import type { Source } from "../source/source.ts";
import type { Job } from "./job.ts";

/** A source with another name than the target is stale at this age. */
const STALE_MS = 3_600_000;

/** Nobody builds an image again so soon after saving it, and engines are not asked. */
const FRESH_MS = 10_000;

/** An engine that does not answer in this time counts as one without the image. */
const ENGINE_MS = 2000;

/** Guards a push against a source that nobody named and that is not meant. */
export type SourceGuard = {
  /** Asks whether to push a stale source, if somebody can be asked. Throws `SOURCE_STALE`, and what asking throws. */
  before(source: Source): Promise<void>;
  /** Resolves once the source was reported, if it is stale. */
  after(): Promise<unknown>;
};

/** Starts to ask the engines for a newer image of the target's name. They are asked beside the push. */
export function guardSource(job: Job): SourceGuard {
  const { onStale } = job.options;
  if (onStale === undefined) return { before: async () => {}, after: async () => {} };
  const found = findInEngines(job);
  let told: Promise<unknown> = Promise.resolve();
  return {
    async before(source) {
      const checked = found.then((image) => report(source, image, job));
      if (onStale === "warn") told = checked;
      else {
        const command = await checked;
        if (command === undefined || (await onStale(job.signal))) return;
        throw new PushError(
          "SOURCE_STALE",
          `Nothing was pushed: you did not confirm "${source.origin.name}".`,
          {
            hint: `Name the image to push: ${command}`,
          },
        );
      }
    },
    after: () => told,
  };
}

/** Reports a source that may not be meant. @returns the command for another image, if it is stale */
function report(source: Source, image: EngineImage | undefined, job: Job): string | undefined {
  if (source.access !== "any") return undefined;
  const { origin, names } = source;
  const date = knownDate(origin.date, new Date());
  const { image: chosen, targets } = job.options;
  const isOther = chosen === undefined && isNamedOtherwise(names, targets.map(formatPinned));
  const isNewer =
    date !== undefined &&
    image !== undefined &&
    image.date > date &&
    !digestsOf(source.content).includes(image.id);
  const isOld = date === undefined || Date.now() - date.getTime() > STALE_MS;
  const facts = { path: origin.name, date, names: isOther ? names : [], target: targetsOf(job) };
  if (isNewer || (isOther && isOld)) {
    const { name, engine, date: built } = image ?? {};
    const newer = isNewer ? ({ name, engine, date: built } as NewerImage) : undefined;
    const command = otherCommand(job, newer?.name);
    job.report({ type: "notice", code: "SOURCE_STALE", ...facts, newer, command });
    return command;
  }
  if (isOther) job.report({ type: "notice", code: "SOURCE_NAMED_OTHERWISE", ...facts });
  return undefined;
}

type EngineImage = NewerImage & { readonly id: string };

/** Finds the image of the target's name, with or without the registry, in the first engine that has it. */
async function findInEngines({ options, signal }: Job): Promise<EngineImage | undefined> {
  const { source, target, runtime, engineEnvironment: environment } = options;
  const writtenMs =
    typeof source === "string"
      ? await stat(source).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        )
      : 0;
  if (Math.abs(Date.now() - writtenMs) < FRESH_MS) return undefined;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ENGINE_MS)]);
  const names =
    target.tag === undefined ? [formatPinned(target)] : [formatReference(target), shortName(target)];
  const searches = (runtime === undefined ? RUNTIMES : [runtime]).map(async (each) => {
    const engine = { runtime: each, command: each, environment, signal: limit };
    const images = await Promise.all(names.map((name) => inspect(name, engine)));
    return images.filter((image) => image !== undefined).sort((a, b) => +b.date - +a.date)[0];
  });
  return (await Promise.all(searches)).find((newest) => newest !== undefined);
}

/** Undefined if the engine lacks the image, fails, or does not answer in time. */
async function inspect(name: string, asked: Engine): Promise<EngineImage | undefined> {
  const answer = unlessAborted(inspectEngineImage(name, asked), asked.signal);
  const { engine, image } = (await answer.catch(() => undefined)) ?? {};
  const date = image && knownDate(new Date(image.created), new Date());
  return engine && date && { name, engine: engineTitle(engine.runtime), date, id: image.id };
}

function digestsOf(content: Content): string[] {
  switch (content.kind) {
    case "image":
      return [content.config.descriptor.digest, ...(content.manifest ? [content.manifest.digest] : [])];
    case "artifact":
      return [content.manifest.digest];
    case "index":
      return [
        content.manifest.digest,
        ...content.children.flatMap((each) => (each.content ? digestsOf(each.content) : [])),
      ];
  }
}

function targetsOf({ options }: Job): string {
  return options.targets.map(formatPinned).join(", ");
}

/** The command that pushes another image to the same targets. */
function otherCommand({ options }: Job, name = shortName(options.target)): string {
  const targets = options.targets.map(formatTarget);
  const places = targets.length === 1 ? targets : targets.flatMap((target) => ["-t", target]);
  return commandLine(name, ...places);
}

function shortName({ repository, tag, digest }: Reference): string {
  return tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
}
