const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Formats bytes in decimal units, as registries do: 1234567 → "1.2 MB". */
export function formatBytes(bytes: number): string {
  let exponent = 0;
  while (exponent < UNITS.length - 1 && Math.round(bytes / 1000 ** exponent) >= 1000) exponent++;
  const value = bytes / 1000 ** exponent;
  return `${value.toFixed(exponent > 0 && value < 99.95 ? 1 : 0)} ${UNITS[exponent]}`;
}

/** Formats milliseconds: 75_000 → "1 min 15 s". */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const AGE_UNITS: readonly [string, number][] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

/** Formats the time since a date: "3 days ago", "just now". */
export function formatAge(date: Date, now: Date): string {
  const ageMs = now.getTime() - date.getTime();
  for (const [unit, unitMs] of AGE_UNITS) {
    const count = Math.floor(ageMs / unitMs);
    if (count >= 1) return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
  }
  return "just now";
}

/** Pads cells into aligned columns, one line per row. The columns listed in `numbers`, by index, align right. */
export function alignColumns(
  rows: readonly (readonly string[])[],
  numbers: readonly number[] = [],
): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => (numbers.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}

/** Matches C0 and C1 control characters and bidirectional formatting marks. */
const UNPRINTABLE = /\p{Cc}|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Makes text from archives, servers or arguments safe for a terminal: replaces unprintable characters. */
export function toPrintable(text: string): string {
  return text.replace(UNPRINTABLE, "\ufffd");
}
