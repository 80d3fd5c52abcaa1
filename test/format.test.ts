import { describe, expect, test } from "bun:test";
import { formatAge, formatBytes, formatDuration, knownDate, toPrintable } from "../src/format.ts";

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
  test.each(cases)("formats %d as %s", (bytes, text) => {
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
  test.each(cases)("formats %d ms as %s", (ms, text) => {
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
  test.each(cases)("formats %s as %s", (date, text) => {
    expect(formatAge(new Date(date), now)).toBe(text);
  });
});

test.each<[string, boolean]>([
  ["1970-01-01T00:00:01Z", false],
  ["0001-01-01T00:00:00Z", false],
  ["1980-01-01T00:00:01Z", false],
  ["nonsense", false],
  ["2026-06-07T12:00:30Z", true],
  ["2026-06-08T12:00:00Z", false],
  ["2020-01-01T00:00:00Z", true],
])("knownDate takes the date %s for a known one: %p", (date, isKnown) => {
  expect(knownDate(new Date(date), new Date("2026-06-07T12:00:00Z")) !== undefined).toBe(isKnown);
});

describe("toPrintable", () => {
  test.each([
    ["\x1b[31mred\x07", "\\x1b[31mred\\x07"],
    ["two\r\nlines", "two\\x0d\\x0alines"],
    ["\x85\x9b", "\\x85\\x9b"],
    [
      "a\u061c\u200b\u200d\u200f\u202e\u2060\u2066\ufeff",
      "a\\u{61c}\\u{200b}\\u{200d}\\u{200f}\\u{202e}\\u{2060}\\u{2066}\\u{feff}",
    ],
    ["line\u2028paragraph\u2029", "line\\u{2028}paragraph\\u{2029}"],
    ["tag \u{e0041}, half a pair \ud800", "tag \\u{e0041}, half a pair \\u{d800}"],
    ["Grüße, 你好, 🎉", "Grüße, 你好, 🎉"],
  ])("shows characters that control a terminal as escapes: %j", (line, shown) => {
    expect(toPrintable(line)).toBe(shown);
  });

  test.each([
    ["::error::pwned", "\\x3a:error::pwned"],
    ["  ::add-mask::x", "  \\x3a:add-mask::x"],
    ["\u00a0::stop-commands::x", "\u00a0\\x3a:stop-commands::x"],
    ["name ##[set-env name=PATH]/evil", "name \\x23#[set-env name=PATH]/evil"],
    ["##vso[task.setvariable variable=x]y", "\\x23#vso[task.setvariable variable=x]y"],
    ["https://[::1]:5000 and a::b", "https://[::1]:5000 and a::b"],
  ])("escapes the beginning of a CI system's command: %j", (line, shown) => {
    expect(toPrintable(line)).toBe(shown);
  });

  test("cuts names at 256 characters, and keeps the words around them", () => {
    const cut = `${"x".repeat(256)}…`;
    expect(toPrintable(`The member "${"x".repeat(300)}" leads out.`)).toBe(`The member "${cut}" leads out.`);
    expect(toPrintable(`Source: ${"x".repeat(9000)} (archive)`)).toBe(`Source: ${cut} (archive)`);
    const line = toPrintable(`The member ${"x y ".repeat(9000)} leads out.`);
    expect(line.length).toBeLessThan(4100);
    expect(line).toEndWith("leads out.");
  });
});
