import { formatAge, formatBytes, formatDuration } from "../format.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { PushEvent, Report, Task } from "./events.ts";

/** How often a line tells how far running work is: enough to see life, few enough for a log. */
const TERMINAL_INTERVAL_MS = 2_000;
const LOG_INTERVAL_MS = 10_000;

type RunningTask = { readonly task: Task; readonly startedMs: number; readonly doneBytes: number };

/** Shows a push as lines of text. To be disposed of, else it keeps the process alive. */
export type PlainReport = Disposable & { readonly report: Report };

/** Shows events as plain lines, and from time to time how far the running work is. */
export function plainReport(writeLine: (line: string) => unknown, isTerminal: boolean): PlainReport {
  const running = new Map<string, RunningTask>();
  let startedMs = performance.now();
  const timer = setInterval(
    () => {
      for (const task of running.values()) writeLine(progressLine(task));
    },
    isTerminal ? TERMINAL_INTERVAL_MS : LOG_INTERVAL_MS,
  );
  // A running push keeps the process alive by itself.
  timer.unref();

  return {
    report(event) {
      // The time that somebody took to type a password is not the push's.
      if (event.type === "registry-addressed") startedMs = performance.now();
      if (event.type === "task-progress") noteProgress(running, event);
      const current = "task" in event ? running.get(event.task.id) : undefined;
      if (event.type === "task-finished" || event.type === "task-dropped") running.delete(event.task.id);
      const elapsedMs = performance.now() - (current?.startedMs ?? startedMs);
      for (const line of linesOf(event, elapsedMs)) writeLine(line);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function noteProgress(
  running: Map<string, RunningTask>,
  { task, doneBytes }: Extract<PushEvent, { type: "task-progress" }>,
): void {
  const startedMs = running.get(task.id)?.startedMs ?? performance.now();
  running.set(task.id, { task, startedMs, doneBytes });
}

function linesOf(event: PushEvent, elapsedMs: number): string[] {
  switch (event.type) {
    case "image-read":
      return describeImage(event);
    case "index-reduced":
      return [describeReduced(event)];
    case "password-awaited":
      return ["Waiting for the password on standard input …"];
    case "registry-addressed":
      return [
        `Registry: ${event.origin}, ${describeUser(event)}`,
        ...(event.isExposed ? ["Warning: the password goes over plain HTTP, where others can read it."] : []),
        ...(event.isUnverified
          ? [
              "Warning: the registry's certificate is not checked: somebody in between can read and change everything.",
            ]
          : []),
      ];
    case "task-finished":
      return [`  ${event.task.subject}: ${describeResult(event.task, event.resultBytes, elapsedMs)}`];
    case "layer-cached":
      return [`  ${event.subject}: cached (${formatBytes(event.sizeBytes)})`];
    case "blob-present":
      return [
        event.mountedFrom === undefined
          ? `  ${event.subject}: is there already (${formatBytes(event.sizeBytes)})`
          : `  ${event.subject}: taken over from ${event.mountedFrom} (${formatBytes(event.sizeBytes)})`,
      ];
    case "other-push-awaited":
      return [
        `  ${event.subject}: waiting for another push that ${event.work === "compress" ? "compresses" : "uploads"} it`,
      ];
    case "cache-awaited":
      return ["Waiting until the cache is pruned …"];
    case "locks-missing":
      return [
        `Warning: no locks work in the folder "${event.directory}" (${event.reason}): of two pushes at once, each does all the work.`,
      ];
    case "memory-failed":
      return [
        `Warning: how far uploads are cannot be noted in "${event.directory}" (${event.reason}): if this push breaks off, what was under way starts again.`,
      ];
    case "body-refused":
      return [
        `  ${event.subject}: the registry refused it as it was sent: again, in bodies of ${formatBytes(event.bodyBytes)}`,
      ];
    case "retrying":
      return [
        `  ${event.subject === undefined ? "Trying again" : `${event.subject}: trying again`} in ${formatDuration(event.delayMs)} (${event.attempt} of ${event.retries}): ${event.reason}`,
      ];
    case "pushed":
      return [
        `Pushed ${event.reference} in ${formatDuration(elapsedMs)}: ${formatBytes(event.sentBytes)} sent, ${formatBytes(event.presentBytes)} were there already`,
      ];
    case "task-progress":
    case "task-dropped":
      return [];
  }
}

function describeUser({
  username,
  credentialsFrom,
}: Extract<PushEvent, { type: "registry-addressed" }>): string {
  if (username === undefined) return "without a user";
  return `as ${username}${credentialsFrom === undefined ? "" : ` (from ${credentialsFrom})`}`;
}

/** One line, in which a stale archive or a wrong image catches the eye. */
function describeImage(event: Extract<PushEvent, { type: "image-read" }>): string[] {
  const facts = [
    event.names.length > 0 ? event.names.join(", ") : "an image without a name",
    event.platform,
    countOf(event.layerCount, "layer"),
    event.layerBytes === undefined ? undefined : formatBytes(event.layerBytes),
  ];
  return [
    `Source: ${describeOrigin(event.source)}: ${facts.filter(Boolean).join(", ")}`,
    ...(event.isNamedOtherwise
      ? ["Note: the source names this image otherwise than the target. Is it the one you mean?"]
      : []),
  ];
}

function describeReduced(event: Extract<PushEvent, { type: "index-reduced" }>): string {
  const { platform = "one image", platforms, attestations } = event;
  const left = [...platforms, ...(attestations > 0 ? [countOf(attestations, "attestation")] : [])];
  return `Note: pushing ${platform} alone. Left out of the image's index: ${left.join(", ")}.`;
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function describeOrigin({ kind, name, date, sizeBytes }: ImageOrigin): string {
  const age = date && !Number.isNaN(date.getTime()) ? formatAge(date, new Date()) : undefined;
  const facts =
    kind === "engine"
      ? ["image of the Docker engine", age && `built ${age}`]
      : [kind, sizeBytes !== undefined && formatBytes(sizeBytes), age && `written ${age}`];
  return `${name} (${facts.filter(Boolean).join(", ")})`;
}

function describeResult({ verb, totalBytes = 0 }: Task, resultBytes: number, elapsedMs: number): string {
  const rate = `${formatDuration(elapsedMs)}, ${formatRate(totalBytes, elapsedMs)}`;
  switch (verb) {
    case "saving":
      return `saved from the engine, ${formatBytes(resultBytes)} (${rate})`;
    case "unpacking":
      return `unpacked (${rate})`;
    case "compressing":
      return `compressed, ${formatBytes(totalBytes)} → ${formatBytes(resultBytes)} (${rate})`;
    case "checking":
      return `checked, compressed already, ${formatBytes(totalBytes)} (${rate})`;
    case "uploading":
      return `uploaded, ${describeSent(totalBytes, resultBytes)} (${formatDuration(elapsedMs)}, ${formatRate(resultBytes, elapsedMs)})`;
  }
}

/** What an earlier push had sent is neither this one's work nor its speed. */
function describeSent(totalBytes: number, sentBytes: number): string {
  return sentBytes === totalBytes
    ? formatBytes(totalBytes)
    : `the last ${formatBytes(sentBytes)} of ${formatBytes(totalBytes)}`;
}

function formatRate(bytes: number, elapsedMs: number): string {
  return `${formatBytes((bytes / Math.max(elapsedMs, 1)) * 1000)}/s`;
}

function progressLine({ task, startedMs, doneBytes }: RunningTask): string {
  const elapsedMs = performance.now() - startedMs;
  const bytesPerMs = doneBytes / Math.max(elapsedMs, 1);
  const rate = `${formatBytes(bytesPerMs * 1000)}/s`;
  if (task.totalBytes === undefined)
    return `  ${task.subject}: ${task.verb}, ${formatBytes(doneBytes)}, ${rate}`;
  if (task.verb === "uploading" && doneBytes >= task.totalBytes && task.totalBytes > 0) {
    return `  ${task.subject}: all ${formatBytes(task.totalBytes)} sent, the registry is putting it together`;
  }
  const percent = task.totalBytes === 0 ? 100 : Math.floor((doneBytes / task.totalBytes) * 100);
  const left = bytesPerMs > 0 ? `, ${formatDuration((task.totalBytes - doneBytes) / bytesPerMs)} left` : "";
  return `  ${task.subject}: ${task.verb}, ${percent} % of ${formatBytes(task.totalBytes)}, ${rate}${left}`;
}
