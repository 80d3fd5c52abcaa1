import { cutName, formatBytes, formatDuration, formatShare, roundBytes, toPrintable } from "../format.ts";
import { ageOf } from "./describe.ts";
import { countOf } from "./names.ts";
import { clip, fit, type Look, paint, smoothBar, spinner, symbolsOf } from "./paint.ts";
import { describeNarrowRow, describeRow, formatPercent } from "./rows.ts";
import type { PushState, Row } from "./state.ts";
import { shownRows, type Totals, totalsOf } from "./totals.ts";

/** A narrower terminal shows only the running rows, without bars. */
const LEAST_WIDE_COLUMNS = 60;

/** A narrower terminal shows only the percentage. */
const LEAST_COLUMNS = 12;

/** A terminal with fewer rows shows no heading. */
const LEAST_HEADED_ROWS = 9;

const LEAST_BAR = 8;
const MOST_BAR = 60;
/** The width of the total line without its bar. */
const TOTAL_WIDTH = 56;

/** Facts of a push that no event has. */
export type Heading = { readonly targets: readonly string[] };

/**
 * Lays a push out for a terminal. No line is wider than the terminal, and one of its rows stays free.
 *
 * @param isOver the push has ended: the total line is left out
 */
export function layOut(
  state: PushState,
  heading: Heading,
  look: Look,
  nowMs: number,
  isOver = false,
): string[] {
  const height = Math.max(1, look.rows - 1);
  if (look.columns < LEAST_COLUMNS) return [clip(bareTotal(state, nowMs), look.columns, look)];
  const top = look.rows < LEAST_HEADED_ROWS ? [] : headLines(state, heading, look);
  const totals = totalsOf(state, nowMs);
  const bottom = isOver ? [] : footLines(state, totals, look, nowMs);
  const isWide = look.columns >= LEAST_WIDE_COLUMNS;
  const gaps = top.length === 0 ? 0 : isWide && !isOver ? 2 : isWide ? 1 : 0;
  const room = Math.max(0, height - top.length - bottom.length - gaps);
  const rows = isWide ? wideRows(state, room, look, nowMs) : narrowRows(state, room, look, nowMs);
  const space = rows.length > 0 && gaps > 0 ? [""] : [];
  return [...top, ...space, ...rows, ...(gaps > 1 ? [""] : []), ...bottom].slice(0, height);
}

function bareTotal(state: PushState, nowMs: number): string {
  const { doneBytes, totalBytes } = totalsOf(state, nowMs);
  return formatPercent(doneBytes, totalBytes);
}

function headLines(state: PushState, { targets }: Heading, look: Look): string[] {
  const { arrow, dot } = symbolsOf(look);
  const { source, registry } = state;
  const target = targets[state.publishedCount - (state.pushed === undefined ? 0 : 1)] ?? "";
  const isWide = look.columns >= LEAST_WIDE_COLUMNS;
  const name = source?.names[0];
  const place = toPrintable(`${isWide && name ? `${cutName(name)} ` : ""}${arrow} ${target}`);
  const head = paint(clip(place, look.columns, look), "bold", look);
  if (!isWide) return [head];
  const facts = [
    source && describeOrigin(source.origin),
    source?.platform && cutName(source.platform),
    source &&
      [countOf(source.layerCount, "layer"), source.layerBytes && formatBytes(source.layerBytes)]
        .filter(Boolean)
        .join(", "),
    registry &&
      (registry.username === undefined ? "anonymous" : `logged in as ${cutName(registry.username)}`),
    state.chunkBytes > 0 && `chunks ${look.isUnicode ? "≤" : "<="} ${roundBytes(state.chunkBytes)}`,
  ];
  const line = fit(
    facts.map((fact) => (fact ? toPrintable(fact) : "")),
    look.columns,
    ` ${dot} `,
  );
  return line === "" ? [head] : [head, paint(line, "dim", look)];
}

/** `output.tar, 2 minutes ago` */
function describeOrigin({ name, engine, kind, date }: NonNullable<PushState["source"]>["origin"]): string {
  const what = kind === "engine" ? `image of ${engine}` : cutName(name);
  return [what, ageOf(date)].filter(Boolean).join(", ");
}

/** Lists done rows, then running ones, then waiting ones. Rows that do not fit are counted. */
function wideRows(state: PushState, room: number, look: Look, nowMs: number): string[] {
  const { done, running, waiting } = groupsOf(state, nowMs);
  const all = [...done, ...running, ...waiting];
  const describe = (row: Row) => describeRow(row, look, nowMs);
  if (all.length <= room) return all.map(describe);
  if (room === 0) return [];
  const shown = running.slice(0, Math.max(0, room - 1));
  const spare = room - shown.length - 1;
  const more = running.length - shown.length;
  const first = waiting.slice(0, Math.max(0, spare));
  const counts = [
    countRows(done, "done"),
    more > 0 ? `${more} more running` : "",
    countRows(waiting.slice(first.length), "waiting"),
  ];
  const mark = paint(symbolsOf(look).done, done.length > 0 ? "green" : "dim", look);
  return [`${mark} ${fit(counts, look.columns - 2, ", ")}`, ...[...shown, ...first].map(describe)];
}

function narrowRows(state: PushState, room: number, look: Look, nowMs: number): string[] {
  const { done, running } = groupsOf(state, nowMs);
  if (room === 0) return [];
  const mark = paint(symbolsOf(look).done, "green", look);
  const line = done.length === 0 ? [] : [`${mark} ${fit(doneCount(done), look.columns - 2)}`];
  return [...line, ...running.slice(0, room - line.length).map((row) => describeNarrowRow(row, look, nowMs))];
}

function doneCount(rows: readonly Row[]): string[] {
  return [countOf(rows.length, "layer"), roundBytes(sizeOf(rows)).padStart(8)];
}

function countRows(rows: readonly Row[], word: string): string {
  return rows.length === 0 ? "" : `${rows.length} ${word} (${roundBytes(sizeOf(rows))})`;
}

function sizeOf(rows: readonly Row[]): number {
  return rows.reduce((sum, { sizeBytes, sourceBytes }) => sum + (sizeBytes ?? sourceBytes ?? 0), 0);
}

function groupsOf(state: PushState, nowMs: number) {
  const done: Row[] = [];
  const running: Row[] = [];
  const waiting: Row[] = [];
  for (const row of shownRows(state, nowMs)) {
    const { kind } = row.work;
    // Configs are not listed: they have a few kilobytes.
    if (kind === "done") {
      if (!/\bconfig\b/.test(row.title)) done.push(row);
    } else if (row.retrying === undefined && (kind === "planned" || kind === "ready")) waiting.push(row);
    else running.push(row);
  }
  return { done, running, waiting };
}

function footLines(state: PushState, totals: Totals, look: Look, nowMs: number): string[] {
  const { retrying, stopping, rows, registry } = state;
  const status = (text: string) => clip(text, look.columns, look);
  const lines: string[] = [];
  if (rows.size === 0) {
    const what = registry === undefined ? "Preparing" : `Connecting to ${toPrintable(registry.origin)}`;
    lines.push(`${paint(spinner(nowMs, look), "cyan", look)} ${clip(what, look.columns - 2, look)}`);
  } else lines.push(totalLine(state, totals, look));
  if (retrying !== undefined) {
    const seconds = Math.max(0, Math.ceil((retrying.untilMs - nowMs) / 1000));
    const text = `Retry ${retrying.attempt}/${retrying.retries} in ${seconds} s (${retrying.reason})`;
    lines.push(paint(status(text), "yellow", look));
  }
  if (stopping !== undefined) {
    const text = describeStopping(state);
    const parts = look.columns >= LEAST_WIDE_COLUMNS ? [text] : text.split(/(?<=\.) /);
    lines.push(...parts.map((part) => paint(status(part), "yellow", look)));
  }
  return lines;
}

/** Describes what a stopping push waits for. */
export function describeStopping({ rows, stopping }: PushState): string {
  const chunks = [...rows.values()].filter(
    ({ work }) => work.kind === "uploading" && work.doneBytes > work.keptBytes,
  ).length;
  const withinMs = stopping?.code === "STOPPING" ? stopping.withinMs : undefined;
  const what =
    chunks === 0 || withinMs === undefined
      ? "Stopping."
      : `Finishing ${countOf(chunks, "chunk")}, up to ${Math.round(withinMs / 1000)} s.`;
  return `${what} Ctrl-C again to stop now.`;
}

/** Formats ` 49 %  ████▊░░░   61 of 125 MB   8.9 MB/s   8 s left`, as far as it fits. */
function totalLine(state: PushState, totals: Totals, look: Look): string {
  const { totalBytes, doneBytes } = totals;
  const isWide = look.columns >= LEAST_WIDE_COLUMNS;
  const percent = formatPercent(doneBytes, totalBytes);
  const width = Math.min(MOST_BAR, Math.max(LEAST_BAR, look.columns - TOTAL_WIDTH));
  const bar = smoothBar(totalBytes > 0 ? doneBytes / totalBytes : 1, width, look);
  const parts = describeTotals(state, totals, isWide ? " of " : "/");
  return isWide
    ? fit([percent.padStart(5), paint(bar, "cyan", look), ...parts], look.columns, "  ")
    : fit([percent, ...parts], look.columns);
}

/** Describes the amount, the rate and the time that is left. */
export function describeTotals(state: PushState, totals: Totals, of: string): string[] {
  const { totalBytes, doneBytes, isEstimated, isPartial, bytesPerSecond, leftMs } = totals;
  const amount = formatShare(doneBytes, totalBytes, `${of}${isEstimated ? "~" : ""}`);
  const rows = [...state.rows.values()];
  const isSent = rows.length > 0 && rows.every(({ work }) => work.kind === "done");
  const rest =
    isSent && state.isSettled
      ? "publishing"
      : leftMs !== undefined && doneBytes < totalBytes
        ? `${formatDuration(Math.max(1000, leftMs)).replace(/\.\d s$/, " s")} left`
        : "";
  return [
    isPartial ? `${roundBytes(doneBytes)} sent` : amount,
    bytesPerSecond === undefined || doneBytes >= totalBytes ? "" : `${formatBytes(bytesPerSecond)}/s`,
    rest,
  ];
}
