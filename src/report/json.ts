import { PushError } from "../errors.ts";
import type { PushEvent } from "./events.ts";
import { printableJson } from "./printable-json.ts";
import type { View } from "./view.ts";

/** The version of the schema in docs/progress.md. A field that goes, or means something else, makes a new one. */
const VERSION = 1;

/** Progress of one blob is told ten times a second at most. */
const LEAST_GAP_MS = 100;

/** What is told besides the events of a push: warnings of the command, and its failure. */
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

/** Shows events as JSON, one a line. Requests are left out unless in debugging. */
export function jsonView(write: (line: string) => unknown, isDebug: boolean): View {
  const toldMs = new Map<string, number>();
  const isTooSoon = (event: PushEvent): boolean => {
    if (event.type !== "blob" && event.type !== "reading") return false;
    const key = event.type === "blob" ? `${event.id} ${event.state}` : event.how;
    const isProgress = "doneBytes" in event && !("isDone" in event && event.isDone);
    // A whole chunk is handed over.
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

/** Describes how the command ended where it failed. */
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

/** Writes an event as a line of JSON. Every field is there: an unknown one is null. */
function jsonLine(event: PushEvent | OwnEvent): string {
  return printableJson({ v: VERSION, time: new Date(), ...event }, (_, value) => {
    if (value === undefined) return null;
    if (!(value instanceof Error)) return value;
    return { code: value instanceof PushError ? value.code : null, message: value.message };
  });
}
