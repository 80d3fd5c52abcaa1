import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { checkJson, looseObject, object, parseJson, record } from "../../src/oci/json-schema.ts";

const SECRET = "hush-Xq7";
const OPTIONAL = object({ a: v.nullish(v.string()) });
const LOOSE = looseObject({ a: v.optional(v.string()) });
const NAMES = record(v.string(), v.string());

function problemOf(schema: v.GenericSchema, value: unknown): string {
  const checked = checkJson(schema, value);
  if ("output" in checked) throw new Error("This should be refused.");
  return [...checked.path, checked.problem].join(": ");
}

describe("a schema for an object", () => {
  const schemas = { object: OPTIONAL, looseObject: LOOSE, record: NAMES };
  const values = { array: [], string: SECRET, number: 5, boolean: true, null: null };
  for (const [name, schema] of Object.entries(schemas)) {
    test.each(Object.entries(values))(`takes no ${name} for an object: %s`, (received, value) => {
      const problem = `Invalid input: expected object, received ${received}`;
      expect(problemOf(schema, value)).toBe(problem);
      expect(problemOf(object({ in: v.array(schema) }), { in: [{}, value] })).toBe(`in: 1: ${problem}`);
    });
  }
});

describe("the problem of a document", () => {
  const word = v.pipe(v.string(), v.regex(/^[a-z]$/));
  const cases: [what: string, schema: v.GenericSchema, value: unknown, problem: string][] = [
    ["another type", OPTIONAL, { a: [SECRET] }, "a: Invalid input: expected string, received array"],
    ["a number for a text", OPTIONAL, { a: 5 }, "a: Invalid input: expected string, received number"],
    ["null where none may be", LOOSE, { a: null }, "a: Invalid input: expected string, received null"],
    [
      "text for a list",
      object({ a: v.array(v.string()) }),
      { a: SECRET },
      "a: Invalid input: expected array, received string",
    ],
    ["a field that is not there", object({ a: v.string() }), { [SECRET]: 1 }, "a: it is missing"],
    ["one too many", v.strictTuple([v.string()]), ["a", SECRET], "1: it should not be there"],
    ["a form", object({ a: word }), { a: SECRET }, "a: Invalid input: expected /^[a-z]$/"],
    [
      "a check",
      object({
        a: v.pipe(
          v.string(),
          v.check(() => false),
        ),
      }),
      { a: SECRET },
      "a: Invalid input",
    ],
    [
      "a number's range",
      object({ a: v.pipe(v.number(), v.minValue(1)) }),
      { a: 0.5 },
      "a: Invalid input: expected >=1",
    ],
    ["a name", record(word, v.string()), { A: SECRET }, "A: Invalid input: expected /^[a-z]$/"],
    ["a schema's own words", v.pipe(v.string(), v.nonEmpty("it is empty")), "", "it is empty"],
  ];
  test.each(cases)("is told with its path, and never quoted: %s", (_, schema, value, problem) => {
    expect(problemOf(schema, value)).toBe(problem);
  });
});

test("a list is not checked beyond its first problem, since each takes memory", () => {
  let looks = 0;
  const never = v.custom<string>(() => {
    looks++;
    return false;
  });
  expect(problemOf(object({ a: v.array(never) }), { a: Array(1000).fill(0) })).toStartWith("a: 0: ");
  expect(looks).toBe(1);
});

describe("a document", () => {
  const parse = (text: string) => parseJson(new TextEncoder().encode(text), OPTIONAL, "x.json");

  test("may be nested a million deep, where nobody looks", () => {
    expect(parse(`{"b":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)},"a":"c"}`)).toEqual({ a: "c" });
  });

  test.each(["1e999", "9".repeat(100_000), "-0"])("may hold a number beyond all others", (number) => {
    expect(parse(`{"b":${number},"a":"c"}`)).toEqual({ a: "c" });
    expect(() => parse(`{"a":${number}}`)).toThrow("a: Invalid input: expected string, received number");
  });

  test("that has a name twice means the last, as Go reads it", () => {
    expect(parse('{"a":"b","a":"c"}')).toEqual({ a: "c" });
  });
});

describe("fields of a document", () => {
  test("that the schema does not have are left out, or kept by a loose one", () => {
    const value = { a: "b", c: { d: 1 } };
    expect(checkJson(OPTIONAL, value)).toEqual({ output: { a: "b" } });
    expect(checkJson(LOOSE, value)).toEqual({ output: value });
  });

  test.each([
    ["object", OPTIONAL],
    ["looseObject", LOOSE],
    ["record", NAMES],
  ] as [string, v.GenericSchema][])("called __proto__ do no harm: %s", (_, schema) => {
    const value: unknown = JSON.parse(`{"__proto__":{"polluted":"yes"},"a":"b"}`);
    const checked = checkJson(schema, value);
    if (!("output" in checked)) throw new Error("This should be taken.");
    expect(Object.getPrototypeOf(checked.output)).toBe(Object.prototype);
    expect(checked.output).toEqual({ a: "b" });
    expect("polluted" in {}).toBe(false);
  });
});
