import { messageOf } from "../errors.ts";
import {
  cutName,
  formatAge,
  formatBytes,
  formatDuration,
  formatShare,
  knownDate,
  roundBytes,
} from "../format.ts";
import type { ImageOrigin } from "../oci/image.ts";
import type { EventOf, PushEvent } from "./events.ts";
import { countOf, listNames } from "./names.ts";
import { describeNotice, isDetail } from "./notices.ts";
import type { PushState } from "./state.ts";
import type { Totals } from "./totals.ts";

export type DescribeOptions = {
  /** Shows each request, and notices that only explain how the push works. */
  readonly isDebug: boolean;
};

/** Returns the warnings and notes of an event, which every view shows. */
export function describeWarnings(event: PushEvent, options: DescribeOptions): string[] {
  switch (event.type) {
    case "registry":
      return [
        ...(event.isExposed
          ? ["Warning: credentials are sent over plain HTTP, where they can be intercepted."]
          : []),
        ...(event.isUnverified
          ? ["Warning: the registry's certificate is not verified: traffic can be intercepted and changed."]
          : []),
      ];
    case "notice":
      // The views describe a stop from the state of the push.
      if (event.code === "STOPPING" || event.code === "STOPPED") return [];
      return isDetail(event) && !options.isDebug ? [] : [describeNotice(event)];
    default:
      return [];
  }
}

/** `PATCH https://r.example/v2/… 202, 5.0 MB in 1.2 s` */
export function describeRequest(event: EventOf<"request">): string {
  const { method, url, status, failure, durationMs, bodyBytes } = event;
  const body = bodyBytes > 0 ? `${formatBytes(bodyBytes)} in ` : "";
  const ms = durationMs < 1000 ? `${Math.round(durationMs)} ms` : formatDuration(durationMs);
  return `${method} ${url} ${status ?? failure ?? ""}, ${body}${ms}`;
}

/** Describes the registry in a line. */
export function describeRegistry(event: EventOf<"registry">): string {
  const { origin, username, credentialsFrom, isSource } = event;
  const from = credentialsFrom === undefined ? "" : ` (from ${credentialsFrom})`;
  return `${isSource ? "Source's registry" : "Registry"}: ${origin}, ${username === undefined ? "anonymous" : `logged in as ${username}${from}`}`;
}

/** Describes the source in a line, so that a stale or wrong image is noticed. */
export function describeSource(event: EventOf<"source">): string {
  const facts = [
    event.names.length > 0 && listNames(event.names),
    event.names.length === 0 && event.origin.kind !== "registry" && "untagged image",
    event.platform && cutName(event.platform),
    countOf(event.layerCount, "layer"),
    event.layerBytes === undefined ? undefined : formatBytes(event.layerBytes),
  ];
  return `Source: ${describeOrigin(event.origin)}: ${facts.filter(Boolean).join(", ")}`;
}

function describeOrigin({ kind, name, engine, date, sizeBytes }: ImageOrigin): string {
  const age = ageOf(date);
  const facts =
    kind === "engine"
      ? [`image of ${engine}`, age && `built ${age}`]
      : [
          kind !== "stream" && kind,
          sizeBytes !== undefined && formatBytes(sizeBytes),
          age && `written ${age}`,
        ];
  const known = facts.filter(Boolean);
  return known.length === 0 ? name : `${name} (${known.join(", ")})`;
}

/** Formats the age of a source. Undefined where its date is unknown or means nothing. */
export function ageOf(date: Date | undefined): string | undefined {
  const now = new Date();
  const known = knownDate(date, now);
  return known && formatAge(known, now);
}

/** Describes how much the registry has of started uploads. Undefined for a push that resumes none. */
export function describeResumed(
  { resumableBytes }: EventOf<"settled">,
  { totalBytes, reusedBytes }: Pick<Totals, "totalBytes" | "reusedBytes">,
): string | undefined {
  if (resumableBytes === 0) return undefined;
  const share = formatShare(resumableBytes + reusedBytes, totalBytes + reusedBytes);
  return `Resumed: ${share} already in the registry, ${roundBytes(Math.max(0, totalBytes - resumableBytes))} to send.`;
}

/** Describes a retry in a line. A blob's retry has a short reason, any other the whole message. */
export function describeRetry(event: EventOf<"retry">, label: string | undefined): string {
  const { attempt, retries, delayMs, reason, offsetBytes, error } = event;
  const at = offsetBytes ? ` at ${formatBytes(offsetBytes)}` : "";
  const what = label === undefined ? messageOf(error) : `${label}${at}: ${reason}`;
  return `retry ${attempt}/${retries} in ${formatDuration(delayMs)}: ${what}`;
}

/** Describes in a line or two what a push did. */
export function describePushed(
  { durationMs, sentBytes, presentBytes, requests }: EventOf<"pushed">,
  { rows }: Pick<PushState, "rows">,
  mark: string,
): string[] {
  const facts = [
    sentBytes > 0 ? `${roundBytes(sentBytes)} sent` : "nothing to send",
    presentBytes > 0 && `${roundBytes(presentBytes)} reused`,
    requests && requests.retries > 0 && `${requests.retries} ${requests.retries === 1 ? "retry" : "retries"}`,
  ];
  const first = `${mark} in ${formatDuration(durationMs)}: ${facts.filter(Boolean).join(", ")}`;
  const largestBlob = Math.max(
    0,
    ...[...rows.values()].map(({ work, sizeBytes }) =>
      work.kind === "done" && work.event.how === "sent" ? (sizeBytes ?? 0) : 0,
    ),
  );
  const largestBytes = requests?.largestBytes ?? 0;
  return largestBytes === 0 || largestBlob <= largestBytes
    ? [first]
    : [
        first,
        `  Largest request ${roundBytes(largestBytes)}. docker push would have needed one of ${roundBytes(largestBlob)}.`,
      ];
}
