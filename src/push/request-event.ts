import type { Exchange } from "../registry/registry.ts";
import type { EventOf } from "../report/events.ts";
import { shortReason } from "../report/retry-event.ts";

/** The query parameters without secrets. The values of others, such as signatures and upload states, are hidden. */
const SHOWN = ["digest", "mount", "from", "scope", "service", "n", "last"];

/** Describes a request without secrets: without headers, user and unknown query values. */
export function requestEvent({
  method,
  url,
  bodyBytes,
  durationMs,
  ...outcome
}: Exchange): EventOf<"request"> {
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
