import type { Command } from "commander";
import { PushError } from "../errors.ts";
import { alignColumns, formatBytes, formatDuration, toPrintable } from "../format.ts";
import { formatPinned } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { type Forecast, type ForecastBlob, forecast } from "../push/forecast.ts";
import type { Report } from "../report/events.ts";
import { countOf } from "../report/names.ts";
import { printableJson } from "../report/printable-json.ts";
import { addFlags } from "./add-flags.ts";
import { defineCommand, interruptedAs } from "./command.ts";
import { type PushCommand, parseTargetless, type Targetless } from "./invocation.ts";
import { openView } from "./progress.ts";
import { optionsOfPush } from "./push-options.ts";
import { pushProgram } from "./push-program.ts";
import type { Environment } from "./values.ts";
import { waitingLine } from "./waiting-line.ts";
import { withTarget } from "./with-target.ts";

type PlanCommand = { readonly push: PushCommand | Targetless; readonly json: boolean };

/** The events that a plan shows, besides its table. */
const SHOWN = ["registry", "source", "notice", "retry", "request"];

export const PLAN = defineCommand<PlanCommand>({
  program: planProgram,
  parse(args, env, context) {
    const program = planProgram();
    const push = parseTargetless(args, env, context, ["plan"], program);
    return typeof push === "string" ? push : { push, json: program.opts<{ json?: true }>().json ?? false };
  },
  async run({ push, json }, { process, stop, warn }) {
    warn();
    await runPlan(await withTarget(push, process, stop, "plan"), json, process, stop);
    return 0;
  },
});

/** The flags of a push that do nothing in a plan. They are accepted, so that `plan` can stand in front of any push. */
const IDLE_FLAGS = ["--dry-run", "--digestfile"];

function planProgram(): Command {
  const program = pushProgram("plan")
    .name("chunkpush plan")
    .description("Shows what a push would do. Nothing is sent or written.")
    .usage("[SOURCE] TARGET [flags]")
    .helpOption("-h, --help", "show this help");
  for (const option of program.options) if (IDLE_FLAGS.includes(option.long ?? "")) option.hideHelp();
  return addFlags(program, "Output", [["--json", "print the plan as JSON: see docs/check.md"]]);
}

/** Prints what a push would do, for each target. Throws what `forecast` throws. */
export async function runPlan(
  command: PushCommand,
  json: boolean,
  { stdout, stderr, env }: Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment },
  stop: AbortSignal,
): Promise<void> {
  // Nothing moves: there is no screen to rewrite.
  const progress = ["auto", "tty"].includes(command.progress) ? "plain" : command.progress;
  const targets = command.targets.map(formatPinned);
  using view = await openView(progress, { stderr, env }, { targets, isDebug: command.debug });
  const waiting = waitingLine(stderr);
  const report: Report = (event) => {
    if (!SHOWN.includes(event.type)) return;
    waiting.clear();
    view.report(event);
    // Once a registry is asked, nobody is asked for a password any more.
    if (progress === "plain" && event.type !== "notice") waiting.show("Planning");
  };
  const plans = await optionsOfPush(command, env, stop, report)
    .then(forecast)
    .catch(interruptedAs("the plan did not finish. Nothing was sent", stop))
    .catch(withPlanInHint)
    .finally(waiting.clear);
  if (json || progress === "json") {
    stdout.write(`${printableJson({ version: 1, targets: plans.map(toJson) })}\n`);
    return;
  }
  for (const plan of plans)
    for (const line of describePlan(plan, command.chunkBytes !== undefined))
      stdout.write(`${toPrintable(line)}\n`);
}

/** Throws an error again. The commands that it suggests for another image are those of a plan then. */
function withPlanInHint(error: unknown): never {
  if (!(error instanceof PushError) || error.code !== "IMAGE_NOT_FOUND" || error.hint === undefined)
    throw error;
  const hint = error.hint
    .replaceAll("Push ", "Plan ")
    .replaceAll(`"${PROGRAM_NAME} `, `"${PROGRAM_NAME} plan `);
  throw new PushError(error.code, error.message, { hint, details: error.details, cause: error });
}

/** @param isExact whether the user chose the size of chunks */
function describePlan({ reference, blobs, requests, bytesPerSecond }: Forecast, isExact: boolean): string[] {
  const shown = blobs.filter(({ kind }) => kind !== "config");
  const size = (bytes: number | undefined, isEstimate: boolean) =>
    bytes === undefined ? "?" : `${isEstimate ? "~" : ""}${formatBytes(bytes)}`;
  const howMany = isExact ? "" : bytesPerSecond === undefined ? "up to " : "about ";
  const rows = shown.map((blob) => [
    blob.title.replace(/layer \d+\/\d+ /, "").replace("sha256:", ""),
    blob.rawBytes === undefined ? (blob.action === "save" ? "?" : "–") : formatBytes(blob.rawBytes),
    size(blob.pushedBytes, blob.isEstimate),
    describeAction(blob, howMany),
  ]);
  return [
    `Plan for ${reference}`,
    "",
    ...alignColumns([["LAYER", "RAW", "PUSHED", "PLAN"], ...rows], [1, 2]),
    describeSums(blobs, requests, bytesPerSecond, howMany),
  ];
}

function describeAction(
  { action, from, chunks, resumedBytes, isEstimate }: ForecastBlob,
  howMany: string,
): string {
  const many = isEstimate && howMany === "" ? "about " : howMany;
  // Without a chunk, only the end of the upload is missing.
  const send = `${chunks === 0 ? "finish" : "send"} in ${chunks > 1 ? `${many}${chunks} chunks` : "1 request"}`;
  switch (action) {
    case "present":
      return "already in the registry";
    case "mount":
      return `mount from ${from}`;
    case "save":
      return "read from the engine, then send";
    case "send":
      return resumedBytes > 0 ? `resume at ${formatBytes(resumedBytes)}, ${send}` : send;
    default:
      return `${action}, ${send}`;
  }
}

function describeSums(
  blobs: readonly ForecastBlob[],
  requests: number,
  bytesPerSecond: number | undefined,
  howMany: string,
): string {
  const toSend = blobs.filter(({ action }) => action !== "present" && action !== "mount");
  const sum = (all: readonly ForecastBlob[]) =>
    all.reduce((bytes, { pushedBytes = 0 }) => bytes + pushedBytes, 0);
  const sentBytes = sum(toSend) - toSend.reduce((bytes, { resumedBytes }) => bytes + resumedBytes, 0);
  const many = countOf(requests, "request");
  if (toSend.length === 0)
    return `The registry has all ${formatBytes(sum(blobs))}: the push takes ${many}. Nothing was sent.`;
  const isUnknown = blobs.some(({ pushedBytes }) => pushedBytes === undefined);
  const about = isUnknown ? "at least " : blobs.some(({ isEstimate }) => isEstimate) ? "~" : "";
  const inChunks = toSend.filter(({ chunks }) => chunks > 1);
  const isCounted = inChunks.every(({ isEstimate }) => howMany === "" && !isEstimate);
  const aboutMany = isUnknown ? "at least " : isCounted ? "" : howMany === "up to " ? howMany : "~";
  const time =
    bytesPerSecond === undefined || isUnknown
      ? ""
      : `, about ${formatDuration((sentBytes / bytesPerSecond) * 1000)}`;
  if (isUnknown && sentBytes === 0)
    return `Sends what the engine has to save, in at least ${many}. Nothing was sent.`;
  return `Sends ${about}${formatBytes(sentBytes)} of ${about}${formatBytes(sum(blobs))} in ${aboutMany}${many}${time}. Nothing was sent.`;
}

/** The document of `--json`, version 1: see docs/check.md. */
function toJson({ reference, origin, blobs, requests, manifests, bytesPerSecond }: Forecast) {
  return { reference, origin, requests, manifests, bytesPerSecond, blobs };
}
