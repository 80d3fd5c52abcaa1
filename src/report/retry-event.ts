import { type ErrorCode, PushError, statusOf } from "../errors.ts";
import type { Retry } from "../retry.ts";
import type { BlobTitle, PushEvent } from "./events.ts";

const REASONS: Partial<Readonly<Record<ErrorCode, string>>> = {
  CONNECTION_REFUSED: "connection refused",
  CONNECTION_LOST: "connection lost",
  HOST_UNKNOWN: "name not found",
  STALLED: "no answer",
};

/**
 * Makes the event of a retry.
 *
 * @param blob the blob that is sent again, if the retry concerns one
 * @param offsetBytes the bytes of the blob that the registry has
 */
export function retryEvent(retry: Retry, blob?: BlobTitle, offsetBytes?: number): PushEvent {
  const reason = shortReason(retry.error);
  return { type: "retry", id: blob?.id, title: blob?.title, reason, offsetBytes, ...retry };
}

/** Names a failure in a word or two: `503`, `connection lost`. */
export function shortReason(error: unknown): string {
  const status = statusOf(error);
  if (status !== undefined) return String(status);
  return (error instanceof PushError && REASONS[error.code]) || "failed";
}
