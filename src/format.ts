const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** 1234567 → "1.2 MB". Decimal units, as registries count. */
export function formatBytes(bytes: number): string {
  let exponent = 0;
  while (exponent < UNITS.length - 1 && Math.round(bytes / 1000 ** exponent) >= 1000) exponent++;
  const value = bytes / 1000 ** exponent;
  return `${value.toFixed(exponent > 0 && value < 99.95 ? 1 : 0)} ${UNITS[exponent]}`;
}

/** 75_000 → "1 min 15 s". */
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

/** How long ago something was: "3 days ago", "just now". */
export function formatAge(date: Date, now: Date): string {
  const ageMs = now.getTime() - date.getTime();
  for (const [unit, unitMs] of AGE_UNITS) {
    const count = Math.floor(ageMs / unitMs);
    if (count >= 1) return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
  }
  return "just now";
}

/** Lines whose cells stand below each other. Columns of numbers, by index, end at the same place. */
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

/** C0 and C1 controls, and the marks that turn the direction of text around. */
const UNPRINTABLE = /\p{Cc}|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** A line that may have text of archives, servers or arguments in it, made safe for a terminal. */
export function toPrintable(text: string): string {
  return text.replace(UNPRINTABLE, "\ufffd");
}
