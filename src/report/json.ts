import { PushError } from "../errors.ts";
import type { PushEvent } from "./events.ts";
import { printableJson } from "./printable-json.ts";
import type { View } from "./view.ts";

/** The version of the schema in docs/progress.md. It increases when a field is removed or changes its meaning. */
const VERSION = 1;

/** The progress of one blob is written ten times a second at most. */
const LEAST_GAP_MS = 100;

/** The events of the command itself: its warnings and its failure. */
type OwnEvent =
  | { readonly type: "warning"; readonly message: string }
  | {
      readonly type: "error";
      readonly code: string;
      readonly message: string;
      readonly hint: string | undefined;
      readonly details: readonly string[];
      readonly exitCode: number;
    };

/** Writes each event as a line of JSON. Requests are written only when debugging. */
export function jsonView(write: (line: string) => unknown, isDebug: boolean): View {
  const toldMs = new Map<string, number>();
  const isTooSoon = (event: PushEvent): boolean => {
    if (event.type !== "blob" && event.type !== "reading") return false;
    const key = event.type === "blob" ? `${event.id} ${event.state}` : event.how;
    const isProgress = "doneBytes" in event && !("isDone" in event && event.isDone);
    // Always write that a whole chunk was handed over.
    if (
      event.type === "blob" &&
      event.state === "uploading" &&
      event.doneBytes - event.keptBytes >= event.chunkBytes
    )
      return false;
    const nowMs = performance.now();
    if (!isProgress || nowMs - (toldMs.get(key) ?? -LEAST_GAP_MS) >= LEAST_GAP_MS) {
      toldMs.set(key, nowMs);
      return false;
    }
    return true;
  };
  return {
    report(event) {
      if ((event.type === "request" && !isDebug) || isTooSoon(event)) return;
      write(jsonLine(event));
    },
    print: (message) => write(jsonWarning(message)),
    pauseFor: (question) => question,
    [Symbol.dispose]: () => {},
  };
}

export function jsonWarning(message: string): string {
  return jsonLine({ type: "warning", message });
}

/** Describes the failure of the command. */
export function jsonError(error: unknown, exitCode: number): string {
  const isOurs = error instanceof PushError;
  return jsonLine({
    type: "error",
    code: isOurs ? error.code : "BUG",
    message: error instanceof Error ? error.message : String(error),
    hint: isOurs ? error.hint : undefined,
    details: isOurs ? error.details : [],
    exitCode,
  });
}

/** Formats an event as a line of JSON. Every field is present; unknown values are null. */
function jsonLine(event: PushEvent | OwnEvent): string {
  return printableJson({ v: VERSION, time: new Date(), ...event }, (_, value) => {
    if (value === undefined) return null;
    if (!(value instanceof Error)) return value;
    return { code: value instanceof PushError ? value.code : null, message: value.message };
  });
}
