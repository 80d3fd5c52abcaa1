import * as v from "valibot";
import { object } from "../../oci/json-schema.ts";
import type { Answer } from "./send-once.ts";

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
const SPEC_ERROR = object({ code: v.string(), message: v.optional(v.string()) });
const ANSWER = v.pipe(v.string(), v.parseJson(), object({ errors: v.array(SPEC_ERROR) }));

type SpecError = v.InferOutput<typeof SPEC_ERROR>;

/** Reads the errors in a registry's answer. Returns none for a web page or an empty answer. */
export function readSpecErrors(text: string): readonly SpecError[] {
  // Stop at the first problem: an issue for each item of a hostile list takes hundreds of megabytes.
  const answer = v.safeParse(ANSWER, text, { abortEarly: true });
  return answer.success ? answer.output.errors : [];
}

/** Quotes errors in brackets, to append to a status. Empty without errors. */
export function quoteErrors(errors: readonly SpecError[], secrets: readonly string[]): string {
  if (errors.length === 0) return "";
  const said = errors.map(({ code, message }) => [code, message].filter(Boolean).join(": ")).join("; ");
  return ` (${printable(said, secrets)})`;
}

/** Tells whether an answer is a web page, as of a website, firewall or proxy. */
export function isPage({ headers }: Pick<Answer, "headers">): boolean {
  return headers.get("content-type")?.startsWith("text/html") === true;
}

/** Returns the title of a web page, safe to print. Undefined for any other answer. */
export function titleOf(
  answer: Pick<Answer, "headers" | "text">,
  secrets: readonly string[],
): string | undefined {
  const [, title = ""] = (isPage(answer) && /<title>\s*([^<]{1,100})/i.exec(answer.text)) || [];
  return printable(title, secrets).trim() || undefined;
}

/** Quotes the title of a web page in brackets, to append to a status. Empty for any other answer. */
export function quotePage(answer: Pick<Answer, "headers" | "text">, secrets: readonly string[]): string {
  const title = titleOf(answer, secrets);
  return title === undefined ? "" : ` (a web page, "${title}")`;
}

/**
 * Makes a server's text safe to print: masks repeated secrets, removes everything but printable ASCII, and cuts the text at
 * 300 characters.
 */
export function printable(text: string, secrets: readonly string[]): string {
  // Replace the longest first: one secret may be part of another.
  const discreet = secrets
    .toSorted((a, b) => b.length - a.length)
    .reduce((said, secret) => said.replaceAll(secret, "***"), text);
  return discreet.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300);
}
