import { messageOf } from "../errors.ts";
import { cutName, formatAge, formatBytes, formatDuration, knownDate } from "../format.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { BlobId, PushEvent, Report } from "./events.ts";
import { countOf, listNames } from "./names.ts";
import { describeNotice, isDetail } from "./notices.ts";

/** How often progress is printed. */
const INTERVAL_MS = { terminal: 2_000, log: 10_000 };

type Work = (typeof READING)["unpack" | "read" | "save"] | "compressing" | "verifying" | "uploading";

const READING = { unpack: "unpacking", read: "reading", save: "saving" } as const;

type RunningWork = {
  readonly title: string;
  readonly work: Work;
  readonly startedMs: number;
  readonly doneBytes: number;
  readonly totalBytes: number | undefined;
};

export type PlainOptions = {
  /** Prints progress every 2 s instead of every 10 s. */
  readonly isTerminal: boolean;
  /** Shows what only explains how the push goes. @default false */
  readonly isDebug?: boolean;
};

/** A line-based report. Disposal stops its timer. */
export type PlainReport = Disposable & { readonly report: Report };

/** Shows events as plain lines and, from time to time, how far the running work is. */
export function plainReport(writeLine: (line: string) => unknown, options: PlainOptions): PlainReport {
  const running = new Map<BlobId, RunningWork>();
  const intervalMs = options.isTerminal ? INTERVAL_MS.terminal : INTERVAL_MS.log;
  const timer = setInterval(() => {
    for (const work of running.values()) writeLine(progressLine(work));
  }, intervalMs);
  // The timer must not keep the process alive.
  timer.unref();

  return {
    report(event) {
      const elapsedMs = noteWork(running, event) ?? 0;
      for (const line of linesOf(event, elapsedMs, options)) writeLine(line);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** Tracks running work. @returns the duration of work that this event ends, in milliseconds */
function noteWork(running: Map<BlobId, RunningWork>, event: PushEvent): number | undefined {
  const work = workOf(event);
  if (work !== undefined) {
    const before = running.get(work.id);
    const startedMs = before?.work === work.work ? before.startedMs : performance.now();
    running.set(work.id, { ...work, startedMs });
    return undefined;
  }
  const id = event.type === "reading" ? event.how : event.type === "blob" ? event.id : undefined;
  const ended = id === undefined ? undefined : running.get(id);
  if (id !== undefined) running.delete(id);
  return ended && performance.now() - ended.startedMs;
}

function workOf(event: PushEvent): (Omit<RunningWork, "startedMs"> & { readonly id: BlobId }) | undefined {
  if (event.type === "reading" && !event.isDone) {
    const { how, name, doneBytes, totalBytes } = event;
    return { id: how, title: name, work: READING[how], doneBytes, totalBytes };
  }
  if (event.type !== "blob") return undefined;
  if (event.state !== "compressing" && event.state !== "verifying" && event.state !== "uploading")
    return undefined;
  const { id, title, state, doneBytes, totalBytes } = event;
  return { id, title, work: state, doneBytes, totalBytes };
}

function linesOf(event: PushEvent, elapsedMs: number, options: PlainOptions): string[] {
  switch (event.type) {
    case "source":
      return describeSource(event);
    case "registry":
      return describeRegistry(event);
    case "reading":
      return event.isDone ? [`  ${event.name}: ${describeRead(event, elapsedMs)}`] : [];
    case "blob":
      return describeBlob(event, elapsedMs).map((line) => `  ${event.title}: ${line}`);
    case "retry":
      return [
        `  ${event.title === undefined ? "Trying again" : `${event.title}: trying again`} in ${formatDuration(event.delayMs)} (${event.attempt} of ${event.retries}): ${messageOf(event.error)}`,
      ];
    case "notice":
      return isDetail(event) && !options.isDebug ? [] : [describeNotice(event)];
    case "pushed":
      return [
        `Pushed ${event.reference} in ${formatDuration(event.durationMs)}: ${formatBytes(event.sentBytes)} sent, ${formatBytes(event.presentBytes)} were there already`,
      ];
    case "planned":
      return [];
  }
}

function describeRegistry(event: Extract<PushEvent, { type: "registry" }>): string[] {
  const { origin, username, credentialsFrom, isExposed, isUnverified, isSource } = event;
  const from = credentialsFrom === undefined ? "" : ` (from ${credentialsFrom})`;
  return [
    `${isSource ? "Source's registry" : "Registry"}: ${origin}, ${username === undefined ? "without a user" : `as ${username}${from}`}`,
    ...(isExposed ? ["Warning: credentials go over plain HTTP, where others can read them."] : []),
    ...(isUnverified
      ? [
          "Warning: the registry's certificate is not checked: somebody in between can read and change everything.",
        ]
      : []),
  ];
}

/** Describes the source in one line, so that a stale or wrong image is noticed. */
function describeSource(event: Extract<PushEvent, { type: "source" }>): string[] {
  const facts = [
    event.names.length > 0 && listNames(event.names),
    event.names.length === 0 && event.origin.kind !== "registry" && "an image without a name",
    event.platform && cutName(event.platform),
    countOf(event.layerCount, "layer"),
    event.layerBytes === undefined ? undefined : formatBytes(event.layerBytes),
  ];
  return [`Source: ${describeOrigin(event.origin)}: ${facts.filter(Boolean).join(", ")}`];
}

function describeOrigin({ kind, name, engine, date, sizeBytes }: ImageOrigin): string {
  const now = new Date();
  const known = knownDate(date, now);
  const age = known && formatAge(known, now);
  const facts =
    kind === "engine"
      ? [`image of ${engine}`, age && `built ${age}`]
      : [
          kind !== "stream" && kind,
          sizeBytes !== undefined && formatBytes(sizeBytes),
          age && `written ${age}`,
        ];
  const shown = facts.filter(Boolean);
  return shown.length === 0 ? name : `${name} (${shown.join(", ")})`;
}

function describeRead(
  { how, doneBytes }: Extract<PushEvent, { type: "reading" }>,
  elapsedMs: number,
): string {
  const rate = `(${formatRate(doneBytes, elapsedMs)})`;
  if (how === "unpack") return `unpacked ${rate}`;
  return `${how === "save" ? "saved from the engine" : "read"}, ${formatBytes(doneBytes)} ${rate}`;
}

function describeBlob(event: Extract<PushEvent, { type: "blob" }>, elapsedMs: number): string[] {
  switch (event.state) {
    case "awaiting-compress":
      return ["waiting for another push that compresses it"];
    case "awaiting-upload":
      return ["waiting for another push that uploads it"];
    case "ready":
      return [describeReady(event, elapsedMs)];
    case "done": {
      const { sizeBytes } = event;
      const size = sizeBytes === undefined ? "unknown size" : formatBytes(sizeBytes);
      if (event.how === "present") return [`is there already (${size})`];
      if (event.how === "mounted") return [`taken over from ${event.from} (${size})`];
      // Exclude bytes that an earlier push sent.
      const sent =
        event.sentBytes === event.sizeBytes ? size : `the last ${formatBytes(event.sentBytes)} of ${size}`;
      return [`uploaded, ${sent} (${formatRate(event.sentBytes, elapsedMs)})`];
    }
    default:
      return [];
  }
}

function describeReady(
  event: Extract<PushEvent, { type: "blob"; state: "ready" }>,
  elapsedMs: number,
): string {
  const { how, totalBytes, sizeBytes } = event;
  const rate = formatRate(totalBytes, elapsedMs);
  switch (how) {
    case "cached":
      return `cached (${formatBytes(sizeBytes)})`;
    case "compressed":
      return `compressed, ${formatBytes(totalBytes)} → ${formatBytes(sizeBytes)} (${rate})`;
    case "verified":
      return `checked, compressed already, ${formatBytes(totalBytes)} (${rate})`;
  }
}

/** Formats a duration and a rate: `1.5 s, 20 MB/s`. */
function formatRate(bytes: number, elapsedMs: number): string {
  return `${formatDuration(elapsedMs)}, ${formatBytes((bytes / Math.max(elapsedMs, 1)) * 1000)}/s`;
}

function progressLine({ title, work, startedMs, doneBytes, totalBytes }: RunningWork): string {
  const elapsedMs = performance.now() - startedMs;
  const bytesPerMs = doneBytes / Math.max(elapsedMs, 1);
  const rate = `${formatBytes(bytesPerMs * 1000)}/s`;
  const verb = work === "verifying" ? "checking" : work;
  // serverless-registry gets the first chunk when it is full.
  if (work === "uploading" && totalBytes === undefined && doneBytes === 0)
    return `  ${title}: ${verb}, waiting for the client's bytes`;
  if (totalBytes === undefined) return `  ${title}: ${verb}, ${formatBytes(doneBytes)}, ${rate}`;
  if (work === "uploading" && doneBytes >= totalBytes && totalBytes > 0) {
    return `  ${title}: all ${formatBytes(totalBytes)} sent, the registry is putting it together`;
  }
  const percent = totalBytes === 0 ? 100 : Math.floor((doneBytes / totalBytes) * 100);
  const left = bytesPerMs > 0 ? `, ${formatDuration((totalBytes - doneBytes) / bytesPerMs)} left` : "";
  return `  ${title}: ${verb}, ${percent} % of ${formatBytes(totalBytes)}, ${rate}${left}`;
}
