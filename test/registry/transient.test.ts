import { describe, expect, test } from "bun:test";
import { type ErrorCode, PushError, RegistryError } from "../../src/errors.ts";
import { isTransient, retryAfterMs } from "../../src/registry/http/transient.ts";

function answered(status: number, headers: Record<string, string> = {}): RegistryError {
  const answer = {
    status,
    specCodes: [],
    namedDigests: [],
    headers: new Headers(headers),
    url: "http://registry.example/",
  };
  return new RegistryError("REGISTRY_FAILED", "no", answer);
}

describe("isTransient", () => {
  test.each([408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 530])("a %d passes", (status) => {
    expect(isTransient(answered(status))).toBe(true);
  });

  test.each([301, 400, 401, 403, 404, 405, 409, 413, 416])("a %d is final", (status) => {
    expect(isTransient(answered(status))).toBe(false);
  });

  test.each<ErrorCode>(["CONNECTION_REFUSED", "CONNECTION_LOST", "HOST_UNKNOWN", "STALLED"])(
    "%s passes",
    (code) => expect(isTransient(new PushError(code, "no"))).toBe(true),
  );

  test.each<ErrorCode>([
    "INTERRUPTED",
    "TLS_UNTRUSTED",
    "TLS_UNSUPPORTED",
    "TLS_REQUIRED",
    "REDIRECT_REFUSED",
    "CONTENT_MISMATCH",
  ])("%s is final", (code) => expect(isTransient(new PushError(code, "no"))).toBe(false));

  test("a bug of ours is final", () => {
    expect(isTransient(new TypeError("undefined is not a function"))).toBe(false);
  });
});

describe("retryAfterMs", () => {
  test.each([
    ["0", 0],
    ["3", 3000],
    ["120", 120_000],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["later", 0],
    ["", 0],
  ])("%j is %d ms", (value, ms) => {
    expect(retryAfterMs(answered(503, { "retry-after": value }))).toBe(ms);
  });

  test("is undefined without the header, and for an error without an answer", () => {
    expect(retryAfterMs(answered(503))).toBe(0);
    expect(retryAfterMs(new PushError("STALLED", "no"))).toBe(0);
    expect(retryAfterMs(undefined)).toBe(0);
  });
});
