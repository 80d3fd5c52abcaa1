import type * as v from "valibot";
import { PushError } from "../errors.ts";
import { checkJson } from "./json-schema.ts";

/** Manifests and configs are kilobytes in size. A file that exceeds this limit is not read into memory. */
export const MAX_JSON_BYTES = 16 * 1024 * 1024;

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
