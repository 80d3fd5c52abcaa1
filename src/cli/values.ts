import { PushError } from "../errors.ts";

/** The variables of the process. */
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

/** In scripts, an empty argument is most often a variable that was not set. */
export function assertNotEmpty(text: string | undefined, name: string): void {
  if (text === "") throw new PushError("USAGE", `${name} is empty.`, { hint: "Is a variable not set?" });
}

/** What was set, and by which name, which messages use. */
export type Setting = { readonly name: string; readonly text: string | undefined };

/** Never more uploads or retries than this: a typing mistake should not become a flood. */
const MAX_COUNT = 100;

/** A flag is stronger than its variable; messages name the one that counts. An empty variable counts as unset. */
export function setting(flag: string, value: string | undefined, name: string, env: Environment): Setting {
  return value !== undefined ? { name: flag, text: value } : { name, text: env[name] || undefined };
}

/**
 * A whole number. Throws `USAGE`.
 *
 * @param where what the range is for, in messages, where it is not always the same
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
  throw new PushError("USAGE", `${name} is "${text}", but should be a number ${range}.`);
}

/** A size, in bytes. Throws `USAGE`. */
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
  throw new PushError("USAGE", `${name} is "${text}", but should be a size such as 50MB, 64MiB or 52428800.`);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** A length of time such as 12h, 30d or 2w, in milliseconds. Throws `USAGE`. */
export function duration({ name, text }: Setting): number | undefined {
  if (text === undefined) return undefined;
  const [, number = "", unit = ""] = /^(\d{1,5})\s*([mhdw])$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (unitMs !== undefined) return Number(number) * unitMs;
  throw new PushError("USAGE", `${name} is "${text}", but should be a time such as 12h, 30d or 2w.`);
}
