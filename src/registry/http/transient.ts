import { type ErrorCode, PushError, RegistryError } from "../../errors.ts";

const TRANSIENT: readonly ErrorCode[] = [
  "CONNECTION_REFUSED",
  "CONNECTION_LOST",
  "HOST_UNKNOWN",
  "PROXY_FAILED",
  "STALLED",
];

/** Tells whether a failure is transient: a lost connection, 408, 425, 429, or 5xx. */
export function isTransient(error: unknown): boolean {
  if (error instanceof RegistryError) {
    const { status } = error.answer;
    return status === 408 || status === 425 || status === 429 || status >= 500;
  }
  return error instanceof PushError && TRANSIENT.includes(error.code);
}

/** Returns the wait that the server requests with `Retry-After`, or 0: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after */
export function retryAfterMs(error: unknown): number {
  const value = error instanceof RegistryError ? error.answer.headers.get("retry-after") : null;
  if (value === null) return 0;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : 0;
}

/** Tells whether the server is overloaded: 429, workerd's 503, or Cloudflare's 52x for a slow or missing Worker. */
export function isOverload(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status } = error.answer;
  return status === 429 || status === 503 || (status >= 520 && status <= 527);
}
