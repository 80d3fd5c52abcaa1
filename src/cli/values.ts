import { PushError } from "../errors.ts";

/** Environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 1024,
  MIB: 1024 ** 2,
  GIB: 1024 ** 3,
};

/** Refuses an empty argument, which an unset variable makes in scripts. Throws `USAGE`. */
export function assertNotEmpty(text: string | undefined, name: string): void {
  if (text === "") throw new PushError("USAGE", `${name} is empty.`, { hint: "Is a variable unset?" });
}

/** A setting, and the flag or variable that messages name. */
export type Setting = { readonly name: string; readonly text: string | undefined };

/** Explains a setting that cannot be read. */
export function invalidValue({ name, text = "" }: Setting, expected: string, hint?: string): PushError {
  const options = hint === undefined ? {} : { hint };
  return new PushError("USAGE", `${name}: invalid value "${text}" (expected ${expected}).`, options);
}

/** The largest number of uploads or retries. It keeps a typing mistake from flooding a registry. */
const MAX_COUNT = 100;

/** Reads a setting. Flags override variables. An empty variable counts as unset. */
export function setting(flag: string, value: string | undefined, name: string, env: Environment): Setting {
  return value !== undefined ? { name: flag, text: value } : { name, text: env[name] || undefined };
}

/**
 * Reads a whole number. Throws `USAGE`.
 *
 * @param where the case that the range is for, if ranges differ
 */
export function integer(
  { name, text }: Setting,
  min: number,
  max = MAX_COUNT,
  where?: string,
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const range = [`from ${min} to ${max}`, where].filter(Boolean).join(" ");
  throw invalidValue({ name, text }, `a number ${range}`);
}

/** Reads a size, in bytes. Throws `USAGE`. */
export function bytes({ name, text }: Setting): number | undefined {
  if (text === undefined) return undefined;
  const [, number = "", unit = ""] = /^(\d{1,15}(?:\.\d{1,6})?)\s*([a-zA-Z]*)$/.exec(text) ?? [];
  const unitBytes =
    UNIT_BYTES[
      unit.length === 1 && unit.toUpperCase() !== "B" ? `${unit.toUpperCase()}B` : unit.toUpperCase()
    ];
  const value =
    number === "" || unitBytes === undefined ? Number.NaN : Math.floor(Number(number) * unitBytes);
  if (value >= 1 && Number.isSafeInteger(value)) return value;
  throw invalidValue({ name, text }, "a size such as 50MB, 64MiB or 52428800");
}

/** Reads true or false, as Go's tools spell them. Throws `USAGE`. */
export function truth(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(?:1|t|true)$/i.test(text)) return true;
  if (/^(?:0|f|false)$/i.test(text)) return false;
  throw invalidValue({ name, text }, "true or false");
}

/** With smaller chunks, the cost of requests would outweigh their bytes. */
const MIN_CHUNK_BYTES = 64 * 1024;

/** Reads the size of a chunk, in bytes. Throws `USAGE`. */
export function chunkSize(setting: Setting): number | undefined {
  const size = bytes(setting);
  if (size === undefined || size >= MIN_CHUNK_BYTES) return size;
  const { name, text = "" } = setting;
  throw new PushError("USAGE", `${name} is ${size} bytes, but a chunk has at least 64 KiB.`, {
    hint: /^\d{1,4}(?:\.\d+)?$/.test(text) ? `Did you mean ${text}MB?` : "Use a size such as 50MB.",
  });
}

const UNIT_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** Reads a duration such as 12h, 30d or 2w, in milliseconds. Throws `USAGE`. */
export function duration({ name, text }: Setting): number | undefined {
  if (text === undefined) return undefined;
  const [, number = "", unit = ""] = /^(\d{1,5})\s*([mhdw])$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (unitMs !== undefined) return Number(number) * unitMs;
  throw invalidValue({ name, text }, "a time such as 12h, 30d or 2w");
}
