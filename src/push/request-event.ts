import type { Exchange } from "../registry/registry.ts";
import type { PushEvent } from "../report/events.ts";
import { shortReason } from "../report/retry-event.ts";

/** Values of a query that are no secrets. Those of others, such as signatures and upload states, are hidden. */
const SHOWN = ["digest", "mount", "from", "scope", "service", "n", "last"];

/** Describes a request without secrets: it has no headers, no user, and no unknown value of the query. */
export function requestEvent({
  method,
  url,
  bodyBytes,
  durationMs,
  ...outcome
}: Exchange): Extract<PushEvent, { type: "request" }> {
  const query = [...url.searchParams].map(([name, value]) => `${name}=${SHOWN.includes(name) ? value : "…"}`);
  return {
    type: "request",
    method,
    url: `${url.origin}${url.pathname}${query.length > 0 ? `?${query.join("&")}` : ""}`,
    status: "status" in outcome ? outcome.status : undefined,
    failure: "error" in outcome ? shortReason(outcome.error) : undefined,
    durationMs,
    bodyBytes,
  };
}
