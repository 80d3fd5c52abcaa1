import * as v from "valibot";
import { object } from "../../oci/json-schema.ts";

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
const ERRORS = object({
  errors: v.array(object({ code: v.string(), message: v.optional(v.string()) })),
});

type SpecError = v.InferOutput<typeof ERRORS>["errors"][number];

/** The errors in a registry's answer. None where a proxy's page or nothing came: the status has to do. */
export function readSpecErrors(text: string): readonly SpecError[] {
  try {
    return v.parse(ERRORS, JSON.parse(text)).errors;
  } catch {
    return [];
  }
}

/** What errors say, in brackets, to go behind a status; empty where they say nothing. */
export function quoteErrors(errors: readonly SpecError[], secrets: readonly string[]): string {
  if (errors.length === 0) return "";
  const said = errors.map(({ code, message }) => [code, message].filter(Boolean).join(": ")).join("; ");
  return ` (${printable(said, secrets)})`;
}

/**
 * What a server says may steer a terminal, or repeat what it was sent: only what can be printed is kept, not much of
 * it, and nothing secret.
 */
export function printable(text: string, secrets: readonly string[]): string {
  // The longest first: one may be a part of another.
  const discreet = secrets
    .toSorted((a, b) => b.length - a.length)
    .reduce((said, secret) => said.replaceAll(secret, "***"), text);
  return discreet.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300);
}
