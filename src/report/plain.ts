import { cutName, formatBytes, formatDuration, formatElapsed, toPrintable } from "../format.ts";
import {
  type DescribeOptions,
  describePushed,
  describeRegistry,
  describeRequest,
  describeResumed,
  describeRetry,
  describeSource,
  describeWarnings,
} from "./describe.ts";
import type { EventOf, PushEvent } from "./events.ts";
import { describeStopping, describeTotals } from "./layout.ts";
import { countOf } from "./names.ts";
import { describeDone, FINISHED, formatPercent, labelOf, RUNNING, WAITS_FOR_REGISTRY } from "./rows.ts";
import { applyEvent, newState, type PushState, type Row } from "./state.ts";
import { totalsOf } from "./totals.ts";
import type { View } from "./view.ts";

/** The time between two progress lines. */
const INTERVAL_MS = { terminal: 2_000, log: 10_000 };

/** The most rows that are printed at once where the total is unknown. */
const SHOWN_ROWS = 10;

export type PlainOptions = DescribeOptions & {
  /** Prints progress every 2 s instead of every 10 s. */
  readonly isTerminal: boolean;
  /** Prints lines and progress for each blob, without times: the proxy serves many pushes. */
  readonly isProxy?: boolean;
};

/** Prints events as lines, and the progress of the push from time to time. */
export function plainView(write: (line: string) => unknown, options: PlainOptions): View {
  const state = newState();
  const startMs = performance.now();
  let held: string[] | undefined;

  const print = (line: string) => {
    if (held === undefined) write(toPrintable(line));
    else held.push(line);
  };
  const timed = (text: string) => {
    print(options.isProxy ? `  ${text}` : `${formatElapsed(performance.now() - startMs)}  ${text}`);
  };
  const timer = setInterval(
    () => {
      for (const line of progressLines(state, performance.now(), options)) timed(line);
    },
    options.isTerminal ? INTERVAL_MS.terminal : INTERVAL_MS.log,
  );
  // The timer must not keep the process alive.
  timer.unref();

  return {
    report(event) {
      const row = event.type === "blob" ? state.rows.get(event.id) : undefined;
      const before = row && { ...row };
      const nowMs = performance.now();
      applyEvent(state, event, nowMs);
      for (const line of describeWarnings(event, options)) print(line);
      const { lines, timedLines } = linesOf(event, before, state, nowMs, options);
      for (const line of timedLines) timed(line);
      for (const line of lines) print(line);
    },
    print,
    async pauseFor(question) {
      held = [];
      try {
        return await question;
      } finally {
        const lines = held;
        held = undefined;
        for (const line of lines) print(line);
      }
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

type Lines = { readonly lines: readonly string[]; readonly timedLines: readonly string[] };

const line = (text: string): Lines => ({ lines: [text], timedLines: [] });
const timedLine = (text: string): Lines => ({ lines: [], timedLines: [text] });
const NOTHING: Lines = { lines: [], timedLines: [] };

function linesOf(
  event: PushEvent,
  before: Row | undefined,
  state: PushState,
  nowMs: number,
  options: PlainOptions,
): Lines {
  switch (event.type) {
    case "source":
      return line(describeSource(event));
    case "registry":
      return line(describeRegistry(event));
    case "settled":
      return describeSettled(event, state, nowMs);
    case "reading": {
      const { isDone, how, name, doneBytes } = event;
      return isDone ? timedLine(`${cutName(name)}: ${FINISHED[how]}, ${formatBytes(doneBytes)}`) : NOTHING;
    }
    case "blob":
      return describeBlob(event, before, state, options);
    case "retry":
      return timedLine(describeRetry(event, event.title && nameOf(event.title, options)));
    case "request":
      return options.isDebug ? timedLine(describeRequest(event)) : NOTHING;
    case "notice":
      if (event.code === "STOPPING") return line(describeStopping(state));
      return NOTHING;
    case "pushed": {
      const mark = `Pushed ${event.reference}`;
      return { lines: describePushed(event, state, mark), timedLines: [] };
    }
    default:
      return NOTHING;
  }
}

/** Returns a blob's name. The proxy's titles stay whole: they name repositories as well. */
function nameOf(title: string, { isProxy, isDebug }: PlainOptions): string {
  return isProxy || isDebug ? title : labelOf(title);
}

function describeSettled(event: EventOf<"settled">, state: PushState, nowMs: number) {
  const totals = totalsOf(state, nowMs);
  const resumed = describeResumed(event, totals);
  if (resumed !== undefined) return timedLine(resumed);
  const { reusedBytes, totalBytes, isEstimated, isPartial, toSend } = totals;
  const facts = [
    reusedBytes > 0 && `${formatBytes(reusedBytes)} reused`,
    toSend > 0 &&
      `${isPartial ? "" : `${isEstimated ? "~" : ""}${formatBytes(totalBytes)} `}to send in ${countOf(toSend, "blob")}`,
  ].filter(Boolean);
  return facts.length === 0 ? NOTHING : timedLine(facts.join(", "));
}

function describeBlob(
  event: EventOf<"blob">,
  before: Row | undefined,
  state: PushState,
  options: PlainOptions,
): Lines {
  const name = nameOf(event.title, options);
  const isEach = options.isProxy === true || options.isDebug;
  const isNew = before?.work.kind !== event.state;
  switch (event.state) {
    case "awaiting-compress":
      return timedLine(`${name}: waiting for another push that compresses it`);
    case "awaiting-upload":
      return timedLine(`${name}: waiting for another push that uploads it`);
    case "uploading": {
      const resumedBytes = isNew ? event.keptBytes : 0;
      return resumedBytes > 0 ? timedLine(`${name}: resumed at ${formatBytes(resumedBytes)}`) : NOTHING;
    }
    case "ready": {
      if (!isEach) return NOTHING;
      const { how, totalBytes, sizeBytes } = event;
      const size = formatBytes(sizeBytes);
      return timedLine(
        how === "compressed"
          ? `${name}: compressed, ${formatBytes(totalBytes)} → ${size}`
          : `${name}: ${how}, ${size}`,
      );
    }
    case "done": {
      const row = state.rows.get(event.id);
      if (!isEach || row === undefined) return NOTHING;
      const size = event.sizeBytes === undefined ? "unknown size" : formatBytes(event.sizeBytes);
      return timedLine(`${name}: ${event.how === "sent" ? "uploaded in " : ""}${describeDone(row)}, ${size}`);
    }
    default:
      return NOTHING;
  }
}

/** Returns a line with the total or, where that is unknown, a line for each running blob. */
function progressLines(state: PushState, nowMs: number, { isProxy }: PlainOptions): string[] {
  if (state.rows.size === 0 || state.pushed !== undefined) return [];
  const totals = totalsOf(state, nowMs);
  if (!isProxy && !totals.isPartial) {
    const parts = [formatPercent(totals.doneBytes, totals.totalBytes), ...describeTotals(state, totals, "/")];
    const packing = [...state.rows.values()].find(({ work }) => work.kind === "compressing");
    return [
      [...parts, packing && totals.doneBytes === 0 ? progressOf(packing, nowMs) : ""]
        .filter(Boolean)
        .join("  "),
    ];
  }
  const running = [...state.rows.values()].flatMap((row) => progressOf(row, nowMs) ?? []);
  const more = running.length - SHOWN_ROWS;
  return more > 0 ? [...running.slice(0, SHOWN_ROWS), `and ${more} more`] : running;
}

function progressOf({ title, work, sinceMs, sinceBytes }: Row, nowMs: number): string | undefined {
  if (!("doneBytes" in work)) return undefined;
  const { kind, doneBytes, totalBytes } = work;
  const verb = RUNNING[kind];
  const name = cutName(title);
  // The proxy sends a first chunk to serverless-registry once it is full.
  if (kind === "uploading" && totalBytes === undefined && doneBytes === 0)
    return `${name}: waiting for the client's bytes`;
  if (kind === "uploading" && totalBytes !== undefined && doneBytes >= totalBytes && totalBytes > 0)
    return `${name}: ${WAITS_FOR_REGISTRY}`;
  const bytesPerMs = (doneBytes - sinceBytes) / Math.max(nowMs - sinceMs, 1);
  const rate = `${formatBytes(bytesPerMs * 1000)}/s`;
  if (totalBytes === undefined) return `${name}: ${verb}, ${formatBytes(doneBytes)}, ${rate}`;
  const left = bytesPerMs > 0 ? `, ${formatDuration((totalBytes - doneBytes) / bytesPerMs)} left` : "";
  return `${name}: ${verb}, ${formatPercent(doneBytes, totalBytes)} of ${formatBytes(totalBytes)}, ${rate}${left}`;
}
