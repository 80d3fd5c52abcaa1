import * as v from "valibot";

// valibot alone takes a list for an object whose fields are all optional, and its own words quote the value that is
// wrong, which may be a password. Hence these.

const OBJECT = v.custom<object>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  ({ input }) => unexpected("object", input),
);

/** An object in JSON, without the fields that are not named. */
export function object<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(OBJECT, v.object(entries));
}

/** An object in JSON, with all its fields. */
export function looseObject<const Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(OBJECT, v.looseObject(entries));
}

/** An object in JSON whose fields have names that are data. */
export function record<Value extends v.GenericSchema>(name: v.GenericSchema<string>, value: Value) {
  return v.pipe(OBJECT, v.record(name, value));
}

/** What is wrong with a document, in words that do not quote it. */
export type JsonProblem = { readonly path: readonly string[]; readonly problem: string };

/** Checks what `JSON.parse` gave. Words that a schema has of its own go before those from here. */
export function checkJson<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
): { readonly output: T } | JsonProblem {
  const parsed = v.safeParse(schema, value, { message: problemOf });
  if (parsed.success) return { output: parsed.output };
  const [{ path, message }] = parsed.issues;
  return { path: (path ?? []).map(({ key }) => String(key)), problem: message };
}

function problemOf({ kind, input, expected }: v.BaseIssue<unknown>): string {
  if (input === undefined) return "it is missing";
  if (expected === "never") return "it should not be there";
  if (expected === null) return "Invalid input";
  // "Object" and "Array" are the classes of JavaScript.
  return kind === "schema"
    ? unexpected(expected.toLowerCase(), input)
    : `Invalid input: expected ${expected}`;
}

function unexpected(expected: string, input: unknown): string {
  const received = input === null ? "null" : Array.isArray(input) ? "array" : typeof input;
  return `Invalid input: expected ${expected}, received ${received}`;
}
