import { type ErrorCode, PushError, RegistryError } from "../../errors.ts";

const TRANSIENT_CODES: readonly ErrorCode[] = [
  "CONNECTION_REFUSED",
  "CONNECTION_LOST",
  "HOST_UNKNOWN",
  "STALLED",
];

/** True for failures that pass by themselves: lost connections, 408, 425, 429, and whatever a server has at fault. */
export function isTransient(error: unknown): boolean {
  if (error instanceof RegistryError) {
    const { status } = error.answer;
    return status === 408 || status === 425 || status === 429 || status >= 500;
  }
  return error instanceof PushError && TRANSIENT_CODES.includes(error.code);
}

/** How long the server asked to be left alone: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after */
export function retryAfterMs(error: unknown): number {
  const value = error instanceof RegistryError ? error.answer.headers.get("retry-after") : null;
  if (value === null) return 0;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : 0;
}
