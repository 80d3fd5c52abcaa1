import { textOf } from "./header.ts";

/** The fields of extended headers, which override the next member's own header. */
export type Overrides = {
  path?: string;
  linkpath?: string;
  /** NaN for anything but a whole number. */
  size?: number;
  hasPax?: true;
};

/**
 * Reads the records of a PAX header. Throws for records that readers treat differently: Go ignores a global header's fields
 * for members, which GNU tar applies, and some readers do not expand sparse files.
 *
 * @param overrides undefined for a global header
 */
export function readPax(body: Buffer, overrides: Overrides | undefined): void {
  // Go keeps only the last header before a member.
  if (overrides?.hasPax) throw new Error("its member has two of them");
  if (overrides !== undefined) overrides.hasPax = true;
  for (const [key, value] of paxRecords(body)) {
    if (key.startsWith("GNU.")) throw new Error(`it has "${key}", which image archives do not use`);
    if (key !== "path" && key !== "linkpath" && key !== "size") continue;
    if (overrides === undefined) throw new Error(`it sets "${key}" for all members`);
    if (key !== "size") override(overrides, key, value);
    else if (overrides.size === undefined) overrides.size = wholeNumber(value.toString("latin1"));
    else throw new Error(`it sets "size" twice`);
  }
}

/** Sets a name. Throws if it is empty or set before: readers differ on which name they use. */
export function override(overrides: Overrides, key: "path" | "linkpath", value: Buffer): void {
  const text = textOf(value);
  if (text === undefined) throw new Error(`"${key}" is not UTF-8`);
  if (text === "") throw new Error(`"${key}" is empty`);
  if (overrides[key] !== undefined) throw new Error(`"${key}" is set twice`);
  overrides[key] = text;
}

/** Yields the records `<length> <key>=<value>\n`. The length counts the whole record. */
function* paxRecords(body: Buffer): Generator<[key: string, value: Buffer]> {
  for (let at = 0; at < body.length; ) {
    const [start = "", length] = /^(\d+) /.exec(body.toString("latin1", at, at + 10)) ?? [];
    const end = at + Number(length);
    const record = body.subarray(at + start.length, end);
    const equals = record.indexOf("=");
    if (!(end <= body.length) || record.at(-1) !== 0x0a || equals < 1) throw new Error("it is damaged");
    const value = record.subarray(equals + 1, -1);
    yield [record.toString("utf8", 0, equals), value];
    at = end;
  }
}

function wholeNumber(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}
