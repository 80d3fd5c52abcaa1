import { type ErrorCode, PushError, RegistryError } from "../../errors.ts";

const TRANSIENT: readonly ErrorCode[] = [
  "CONNECTION_REFUSED",
  "CONNECTION_LOST",
  "HOST_UNKNOWN",
  "PROXY_FAILED",
  "STALLED",
];

/** Tells whether a failure passes by itself: a lost connection, 408, 425, 429, or a fault of the server. */
export function isTransient(error: unknown): boolean {
  if (error instanceof RegistryError) {
    const { status } = error.answer;
    return status === 408 || status === 425 || status === 429 || status >= 500;
  }
  return error instanceof PushError && TRANSIENT.includes(error.code);
}

/** Returns how long the server asked to wait: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after */
export function retryAfterMs(error: unknown): number {
  const value = error instanceof RegistryError ? error.answer.headers.get("retry-after") : null;
  if (value === null) return 0;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : 0;
}

/** Tells whether the server has too much to do: 429, workerd's 503, Cloudflare's 52x for a slow or missing Worker. */
export function isOverload(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status } = error.answer;
  return status === 429 || status === 503 || (status >= 520 && status <= 527);
}
