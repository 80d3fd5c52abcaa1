import { cutName, formatBytes, formatDuration, roundBytes, toPrintable } from "../format.ts";
import { chunkBar, clip, fit, type Look, pad, paint, spinner, symbolsOf } from "./paint.ts";
import type { Retrying, Row } from "./state.ts";

const DIGEST_DIGITS = 12;
const SHORT_DIGITS = 8;
const SIZE_WIDTH = 8;
/** The width left of the bar: symbol, digest and size. */
const LABEL_WIDTH = 2 + DIGEST_DIGITS + 2 + SIZE_WIDTH + 2;
/** The width of the percentage, with the gaps at its sides. */
const PERCENT_WIDTH = 2 + 5 + 2;
/** The width right of the bar: the percentage, and a rate or a retry. */
const DETAIL_WIDTH = PERCENT_WIDTH + 24;
const LEAST_BAR = 4;
const MOST_BAR = 60;

/** Verbs for work that is running. */
export const RUNNING = {
  compressing: "compressing",
  verifying: "verifying",
  uploading: "uploading",
  unpack: "unpacking",
  read: "reading",
  save: "saving from the engine",
} as const;

/** Verbs for reading that has ended. */
export const FINISHED = { unpack: "unpacked", read: "read", save: "saved from the engine" } as const;

export const WAITS_FOR_REGISTRY = "waiting for the registry to finish";

/** Returns the short digest in a blob's title, or else the title. */
export function labelOf(title: string, digits = DIGEST_DIGITS): string {
  return /sha256:([0-9a-f]{12})/.exec(title)?.[1]?.slice(0, digits) ?? toPrintable(cutName(title));
}

/** Describes a blob in a line that fits a wide terminal. */
export function describeRow(row: Row, look: Look, nowMs: number): string {
  const size = row.sizeBytes ?? row.sourceBytes;
  // A source that is read has no size: its name takes the place.
  const width = size === undefined ? DIGEST_DIGITS + 2 + SIZE_WIDTH : DIGEST_DIGITS;
  const label = pad(clip(labelOf(row.title), width, look), width);
  const sized = size === undefined ? "" : `  ${formatBytes(size).padStart(SIZE_WIDTH)}`;
  const barWidth = Math.min(MOST_BAR, Math.max(LEAST_BAR, look.columns - LABEL_WIDTH - DETAIL_WIDTH));
  const detail = detailOf(row, barWidth, look.columns - LABEL_WIDTH, look, nowMs);
  return `${symbolOf(row, look, nowMs)} ${label}${sized}  ${detail}`;
}

/** Describes a running blob in a line that fits a narrow terminal. */
export function describeNarrowRow(row: Row, look: Look, nowMs: number): string {
  const size = row.sizeBytes ?? row.sourceBytes;
  const retry = row.retrying && `retry ${row.retrying.attempt}/${row.retrying.retries}`;
  const parts = [
    `${symbolOf(row, look, nowMs)} ${pad(clip(labelOf(row.title, SHORT_DIGITS), SHORT_DIGITS, look), SHORT_DIGITS)}`,
    (size === undefined ? "" : roundBytes(size)).padStart(6),
    ...(retry ? [fit([percentOf(row), retry], look.columns, " ")] : [percentOf(row), shortWork(row) ?? ""]),
  ];
  return fit(parts, look.columns);
}

function symbolOf({ work, retrying }: Row, look: Look, nowMs: number): string {
  const symbols = symbolsOf(look);
  if (retrying !== undefined) return paint(symbols.retry, "yellow", look);
  switch (work.kind) {
    case "done":
      return paint(symbols.done, "green", look);
    case "uploading":
      return paint(symbols.up, "cyan", look);
    case "planned":
    case "ready":
    case "awaiting-compress":
    case "awaiting-upload":
      return paint(symbols.waiting, "dim", look);
    default:
      return paint(spinner(nowMs, look), "cyan", look);
  }
}

function detailOf(row: Row, barWidth: number, width: number, look: Look, nowMs: number): string {
  const { work, retrying } = row;
  switch (work.kind) {
    case "done":
      return clip(describeDone(row), width, look);
    case "planned":
    case "ready":
    case "awaiting-compress":
    case "awaiting-upload":
      return retrying === undefined
        ? paint(clip(shortWork(row) ?? "waiting", width, look), "dim", look)
        : fit([describeRetry(retrying, nowMs)], width);
    case "uploading": {
      const { doneBytes, totalBytes } = work;
      if (totalBytes === undefined) return fit([`${formatBytes(doneBytes)} sent`, rateOf(row, nowMs)], width);
      if (doneBytes >= totalBytes && retrying === undefined) return clip(WAITS_FOR_REGISTRY, width, look);
      // A retry's reason may make the bar shorter.
      const told = retrying === undefined ? rateOf(row, nowMs) : describeRetry(retrying, nowMs);
      const state = clip(told, Math.max(0, width - LEAST_BAR - PERCENT_WIDTH), look);
      const cells = Math.max(LEAST_BAR, Math.min(barWidth, width - PERCENT_WIDTH - Bun.stringWidth(state)));
      const bar = chunkBar({ ...work, totalBytes, isRetried: retrying !== undefined }, cells, look);
      const resumed = row.sinceBytes > 0 ? `resumed at ${roundBytes(row.sinceBytes)}` : "";
      return fit([pad(bar, cells), percentOf(row).padStart(5), state, resumed], width);
    }
    default:
      return fit(
        [
          clip(pad(RUNNING[work.kind], barWidth), width, look),
          percentOf(row).padStart(5),
          rateOf(row, nowMs),
        ],
        width,
      );
  }
}

function shortWork({ work }: Row): string | undefined {
  switch (work.kind) {
    case "ready":
    case "planned":
      return "waiting";
    case "awaiting-compress":
      return "another push compresses it";
    case "awaiting-upload":
      return "another push uploads it";
    case "uploading":
      return undefined;
    case "done":
      return "";
    default:
      return RUNNING[work.kind];
  }
}

/** Describes how the registry got a blob. */
export function describeDone({ work, uploadMs }: Row): string {
  if (work.kind !== "done") return "";
  const { event } = work;
  if (event.how === "present") return "already in the registry";
  if (event.how === "mounted") return `mounted from ${toPrintable(cutName(event.from))}`;
  const resumedBytes = event.sizeBytes - event.sentBytes;
  const resumed =
    resumedBytes > 0 ? `  resumed at ${roundBytes(resumedBytes)}; sent ${roundBytes(event.sentBytes)}` : "";
  return `${formatDuration(uploadMs)}${resumed}`;
}

function describeRetry({ attempt, retries, reason, untilMs }: Retrying, nowMs: number): string {
  const leftMs = untilMs - nowMs;
  const when = leftMs > 0 ? `in ${Math.ceil(leftMs / 1000)} s` : "now";
  return `retry ${attempt}/${retries} ${when} (${reason})`;
}

/** Returns the done share, such as `82 %`. Empty if it is unknown. */
function percentOf({ work }: Row): string {
  if (!("doneBytes" in work) || work.totalBytes === undefined) return "";
  return formatPercent(work.doneBytes, work.totalBytes);
}

export function formatPercent(doneBytes: number, totalBytes: number): string {
  return `${totalBytes <= 0 ? 100 : Math.min(100, Math.floor((doneBytes / totalBytes) * 100))} %`;
}

/** Returns the rate of running work since it began. Empty if no byte was moved. */
function rateOf({ work, sinceMs, sinceBytes }: Row, nowMs: number): string {
  if (!("doneBytes" in work)) return "";
  const bytes = work.doneBytes - sinceBytes;
  const ms = nowMs - sinceMs;
  return bytes > 0 && ms > 0 ? `${formatBytes((bytes / ms) * 1000)}/s` : "";
}
