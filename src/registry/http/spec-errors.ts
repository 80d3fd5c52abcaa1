import * as v from "valibot";
import { object } from "../../oci/json-schema.ts";

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
const ERRORS = object({
  errors: v.array(object({ code: v.string(), message: v.optional(v.string()) })),
});

type SpecError = v.InferOutput<typeof ERRORS>["errors"][number];

/** Reads the errors in a registry's answer. The page of a proxy has none. */
export function readSpecErrors(text: string): readonly SpecError[] {
  try {
    return v.parse(ERRORS, JSON.parse(text)).errors;
  } catch {
    return [];
  }
}

/** Formats errors in brackets, to follow a status. Empty without errors. */
export function quoteErrors(errors: readonly SpecError[], secrets: readonly string[]): string {
  if (errors.length === 0) return "";
  const said = errors.map(({ code, message }) => [code, message].filter(Boolean).join(": ")).join("; ");
  return ` (${printable(said, secrets)})`;
}

/**
 * Makes a server's words fit for a message: they are cut short, and control characters and secrets are removed.
 */
export function printable(text: string, secrets: readonly string[]): string {
  // The longest first: one secret may be a part of another.
  const discreet = secrets
    .toSorted((a, b) => b.length - a.length)
    .reduce((said, secret) => said.replaceAll(secret, "***"), text);
  return discreet.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300);
}
