import * as v from "valibot";
import { PushError } from "../errors.ts";

// These replace valibot's own schemas and messages. valibot accepts an array as an object whose fields are all
// optional, and its messages quote the invalid value, which may be a password.

/** Manifests and configs are kilobytes in size, and no registry takes a manifest as large as this. */
export const MAX_JSON_BYTES = 4 * 1024 * 1024;

const OBJECT = v.custom<object>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  ({ input }) => unexpected("object", input),
);

/** Schema of a JSON object. Drops unknown fields. */
export function object<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(OBJECT, v.object(entries));
}

/** Schema of a JSON object. Keeps unknown fields. */
export function looseObject<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(OBJECT, v.looseObject(entries));
}

/** Schema of a JSON object with arbitrary field names. */
export function record<Value extends v.GenericSchema>(name: v.GenericSchema<string>, value: Value) {
  return v.pipe(OBJECT, v.record(name, value));
}

/** Parses and validates untrusted JSON. Throws `IMAGE_INVALID`, naming the document and the field. */
export function parseJson<T>(bytes: Uint8Array, schema: v.GenericSchema<unknown, T>, name: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new PushError("IMAGE_INVALID", `Cannot read ${name}: it is not valid JSON.`, { cause });
  }
  const checked = checkJson(schema, value);
  if ("output" in checked) return checked.output;
  const field = checked.path.join(".") || "the document";
  throw new PushError("IMAGE_INVALID", `Cannot read ${name}: ${field}: ${checked.problem}.`);
}

/** Describes an invalid field without quoting its value. */
export type JsonProblem = { readonly path: readonly string[]; readonly problem: string };

/** Validates a value from `JSON.parse`. A schema's own message takes precedence over those of this file. */
export function checkJson<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
): { readonly output: T } | JsonProblem {
  // Stop at the first problem: an issue for each item of a hostile list takes gigabytes.
  const parsed = v.safeParse(schema, value, { message: problemOf, abortEarly: true });
  if (parsed.success) return { output: parsed.output };
  const [{ path, message }] = parsed.issues;
  return { path: (path ?? []).map(({ key }) => String(key)), problem: message };
}

function problemOf({ kind, input, expected }: v.BaseIssue<unknown>): string {
  if (input === undefined) return "it is missing";
  if (expected === "never") return "it should not be there";
  if (expected === null) return "Invalid input";
  // valibot writes "Object" and "Array"; JSON's terms are lower case.
  return kind === "schema"
    ? unexpected(expected.toLowerCase(), input)
    : `Invalid input: expected ${expected}`;
}

function unexpected(expected: string, input: unknown): string {
  const received = input === null ? "null" : Array.isArray(input) ? "array" : typeof input;
  return `Invalid input: expected ${expected}, received ${received}`;
}
