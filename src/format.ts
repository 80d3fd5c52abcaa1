const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Formats bytes in decimal units, as registries do: 1234567 → "1.2 MB". */
export function formatBytes(bytes: number): string {
  let exponent = 0;
  while (exponent < UNITS.length - 1 && Math.round(bytes / 1000 ** exponent) >= 1000) exponent++;
  const value = bytes / 1000 ** exponent;
  return `${value.toFixed(exponent > 0 && value < 99.95 ? 1 : 0)} ${UNITS[exponent]}`;
}

/** Formats bytes without a fraction from ten on: `18 MB`, `1.5 GB`. */
export function roundBytes(bytes: number): string {
  return formatBytes(bytes).replace(/^(\d{2,})\.\d/, "$1");
}

/** Formats a part of an amount, with the unit once where both have the same: `61 of 125 MB`. */
export function formatShare(doneBytes: number, totalBytes: number, of = " of "): string {
  const total = roundBytes(totalBytes);
  const unit = total.slice(total.indexOf(" "));
  const done = roundBytes(doneBytes);
  return `${done.endsWith(unit) ? done.slice(0, -unit.length) : done}${of}${total}`;
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

/** Formats the time since a start in a column of a log: `  12.3s`. */
export function formatElapsed(ms: number): string {
  return `${(ms / 1000).toFixed(1)}s`.padStart(6);
}

const AGE_UNITS: readonly [string, number][] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

/** Programs write dates up to this one where they know none: 1970, or 1980, from which ZIP archives count. */
const LAST_UNKNOWN_MS = Date.UTC(1980, 0, 2);

/** Clocks may differ by this much. */
const SKEW_MS = 60_000;

/** Returns a date that may be true. Undefined for one of no meaning, or in the future. */
export function knownDate(date: Date | undefined, now: Date): Date | undefined {
  const ms = date?.getTime() ?? Number.NaN;
  return ms >= LAST_UNKNOWN_MS && ms <= now.getTime() + SKEW_MS ? date : undefined;
}

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

/** A longer name of an image, a file or a platform is cut. */
const MAX_NAME_CHARACTERS = 256;

/** A longer line is cut in the middle, where a message has what it quotes. */
const MAX_LINE_CHARACTERS = 4000;

/** Control and format characters (bidirectional and zero-width ones, too), line separators, and lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** GitHub Actions takes lines that begin so for commands, and `##[` and `##vso[` anywhere in a line. */
const COMMAND = /^(\s*):(?=:)|#(?=#(?:vso)?\[)/g;

/** Cuts a name from an archive, an engine or a server at 256 characters. */
export function cutName(name: string): string {
  return cut(name, MAX_NAME_CHARACTERS, 0);
}

/**
 * Makes a line safe for a terminal and a CI log, whatever it quotes from archives, servers or arguments: shows unprintable
 * characters as escapes, cuts long names, and begins no command of GitHub Actions.
 */
export function toPrintable(line: string): string {
  const short = line.replace(/"[^"]{257,}"|\S{513,}/g, (name) =>
    name.startsWith('"') ? `"${cutName(name.slice(1, -1))}"` : cutName(name),
  );
  return cut(short, MAX_LINE_CHARACTERS / 2, MAX_LINE_CHARACTERS / 2)
    .replace(UNPRINTABLE, escapeCharacter)
    .replace(COMMAND, (start) => `${start.slice(0, -1)}${escapeCharacter(start.slice(-1))}`);
}

/** Keeps so many characters of a text's head and tail. */
function cut(text: string, headCharacters: number, tailCharacters: number): string {
  if (text.length <= headCharacters + tailCharacters) return text;
  return `${text.slice(0, headCharacters)}…${tailCharacters > 0 ? text.slice(-tailCharacters) : ""}`;
}

/** Writes a character as JavaScript does: `\x1b`, `\u{202e}`. */
function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
}

/** Writes a word as a shell reads it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
