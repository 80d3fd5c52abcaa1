import { describe, expect, test } from "bun:test";
import { formatAge, formatBytes, formatDuration } from "../src/format.ts";

describe("formatBytes", () => {
  const cases: [bytes: number, text: string][] = [
    [0, "0 B"],
    [0.4, "0 B"],
    [1, "1 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [1049, "1.0 kB"],
    [1050, "1.1 kB"],
    [99_949, "99.9 kB"],
    [99_950, "100 kB"],
    [999_499, "999 kB"],
    // Rounding leads to the next unit, and not to a thousand of this one.
    [999_500, "1.0 MB"],
    [999_999, "1.0 MB"],
    [1_000_000, "1.0 MB"],
    [1_234_567, "1.2 MB"],
    [52_428_800, "52.4 MB"],
    [100_000_000, "100 MB"],
    [999_999_999, "1.0 GB"],
    [1_000_000_000, "1.0 GB"],
    [4_983_212_111, "5.0 GB"],
    [1e12, "1.0 TB"],
    [123.4e12, "123 TB"],
    [1e16, "10000 TB"],
  ];
  test.each(cases)("%d: %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe("formatDuration", () => {
  const cases: [ms: number, text: string][] = [
    [0, "0.0 s"],
    [49, "0.0 s"],
    [51, "0.1 s"],
    [1000, "1.0 s"],
    [9949, "9.9 s"],
    [9950, "10 s"],
    [59_499, "59 s"],
    [59_500, "1 min 0 s"],
    [60_000, "1 min 0 s"],
    [75_000, "1 min 15 s"],
    [119_999, "2 min 0 s"],
    [3_599_499, "59 min 59 s"],
    [3_599_500, "1 h 0 min"],
    [3_600_000, "1 h 0 min"],
    [5_400_000, "1 h 30 min"],
    [86_400_000, "24 h 0 min"],
  ];
  test.each(cases)("%d ms: %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe("formatAge", () => {
  const now = new Date("2026-06-07T12:00:00Z");
  const cases: [date: string, text: string][] = [
    ["2026-06-07T12:00:00Z", "just now"],
    ["2026-06-07T11:59:01Z", "just now"],
    ["2026-06-07T11:59:00Z", "1 minute ago"],
    ["2026-06-07T11:58:00Z", "2 minutes ago"],
    ["2026-06-07T11:00:01Z", "59 minutes ago"],
    ["2026-06-07T11:00:00Z", "1 hour ago"],
    ["2026-06-06T12:00:01Z", "23 hours ago"],
    ["2026-06-06T12:00:00Z", "1 day ago"],
    ["2026-06-01T12:00:00Z", "6 days ago"],
    // Clocks differ: what comes from the future is new.
    ["2026-06-07T12:05:00Z", "just now"],
  ];
  test.each(cases)("%s: %s", (date, text) => {
    expect(formatAge(new Date(date), now)).toBe(text);
  });
});
