import { cutName, formatBytes, formatDuration, toPrintable } from "../format.ts";
import type { BlobId, EventOf, Report } from "./events.ts";

type BlobEvent = EventOf<"blob">;

/** GitHub refuses a summary of more than 1 MiB. */
const MAX_ROWS = 200;

type Row = {
  readonly title: string;
  readonly ready: Extract<BlobEvent, { state: "ready" }> | undefined;
  readonly done: Extract<BlobEvent, { state: "done" }> | undefined;
  /** The ID under which the blob was sent. */
  readonly as: BlobId | undefined;
  readonly workedMs: number;
  /** Set while work is running. */
  readonly sinceMs: number | undefined;
};

/** Collects the events of a push, and describes each target in Markdown with a table of its blobs. */
export function markdownSummary(): { readonly report: Report; text(): string } {
  const sections: string[] = [];
  let rows = new Map<BlobId, Row>();
  let planned: readonly BlobId[] | undefined;
  let shown = 0;
  return {
    report(event) {
      if (event.type === "planned") planned = event.blobs.map(({ id }) => id);
      if (event.type === "blob") rows.set(event.id, nextRow(rows.get(event.id), event));
      if (event.type !== "pushed") return;
      const all = doneRows(rows, planned);
      const some = all.slice(0, MAX_ROWS - shown);
      shown += some.length;
      sections.push(describePushed(event, some, all.length - some.length));
      rows = new Map();
      planned = undefined;
    },
    text: () => sections.join("\n"),
  };
}

function nextRow(before: Row | undefined, event: BlobEvent): Row {
  const nowMs = performance.now();
  const { state } = event;
  const isWorking = state === "compressing" || state === "verifying" || state === "uploading";
  return {
    title: event.title,
    ready: state === "ready" ? event : before?.ready,
    done: state === "done" ? event : before?.done,
    as: state === "identified" ? event.as : before?.as,
    workedMs: (before?.workedMs ?? 0) + (before?.sinceMs === undefined ? 0 : nowMs - before.sinceMs),
    sinceMs: isWorking ? nowMs : undefined,
  };
}

/** Returns the image's blobs that the registry has, without those of other images in the source. */
function doneRows(rows: ReadonlyMap<BlobId, Row>, planned: readonly BlobId[] | undefined): Row[] {
  return (planned ?? [...rows.keys()]).flatMap((id) => {
    const row = rows.get(id);
    const sent = row?.as === undefined ? row : rows.get(row.as);
    return row === undefined || sent?.done === undefined ? [] : [{ ...sent, title: row.title }];
  });
}

function describePushed(
  { reference, digest, sentBytes, presentBytes, durationMs }: EventOf<"pushed">,
  rows: readonly Row[],
  leftOut: number,
): string {
  const facts = [
    ...(sentBytes > 0 ? [`${formatBytes(sentBytes)} sent`] : []),
    ...(presentBytes > 0 ? [`${formatBytes(presentBytes)} already in the registry`] : []),
    `in ${formatDuration(durationMs)}`,
  ];
  const table = [
    `${facts.join(", ")}.`,
    "",
    "| Blob | Size | Content | Registry | Sent | Time |",
    "| --- | ---: | --- | --- | ---: | ---: |",
    ...rows.map((row) => `| ${cellsOf(row).map(plainText).join(" | ")} |`),
  ];
  return [
    `### Pushed ${plainText(reference)}`,
    "",
    `\`${reference}@${digest}\``,
    "",
    // Targets in one repository share their blobs.
    ...(rows.length + leftOut > 0 ? table : ["Its blobs went up with the target above."]),
    ...(leftOut > 0 ? ["", `${leftOut} more blobs are not listed.`] : []),
    "",
  ].join("\n");
}

function cellsOf({ title, ready, done, workedMs }: Row): string[] {
  return [
    title,
    done?.sizeBytes === undefined ? "" : formatBytes(done.sizeBytes),
    describeReady(ready),
    describeDone(done),
    done?.how === "sent" ? formatBytes(done.sentBytes) : "",
    workedMs > 0 ? formatDuration(workedMs) : "",
  ];
}

function describeReady(ready: Row["ready"]): string {
  return ready?.how === "compressed"
    ? `compressed from ${formatBytes(ready.totalBytes)}`
    : (ready?.how ?? "");
}

function describeDone(done: Row["done"]): string {
  switch (done?.how) {
    case undefined:
      return "";
    case "present":
      return "already in the registry";
    case "mounted":
      return `mounted from ${done.from}`;
    case "sent": {
      const resumedBytes = done.sizeBytes - done.sentBytes;
      return resumedBytes > 0 ? `resumed at ${formatBytes(resumedBytes)}` : "uploaded";
    }
  }
}

/** Escapes text for a line or a table cell, so that it makes no markup, link or further cell. */
function plainText(text: string): string {
  return toPrintable(cutName(text)).replace(/[!-/:-@[-`{-~]/g, "\\$&");
}
