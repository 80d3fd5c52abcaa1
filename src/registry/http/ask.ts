import { MAX_JSON_BYTES } from "../../oci/json-schema.ts";
import { retry } from "../../retry.ts";
import type { Call, Repository } from "../registry.ts";
import { expectStatus } from "./expect-status.ts";
import { open } from "./send.ts";
import { type Answer, type RegistryRequest, type RegistryResponse, readAnswer } from "./send-once.ts";
import { isTransient, retryAfterMs } from "./transient.ts";

/** Bodies up to this size are read whole: Bun sends a Content-Length only for those, and a broken one can be retried. */
const MAX_WHOLE_BYTES = MAX_JSON_BYTES;

/** The limit for lists, which may be longer than other answers. */
const MAX_LIST_BYTES = 16 * 1024 * 1024;

/** Sends a request with retries, and reads a small body. Throws a `RegistryError` unless the status is wanted. */
export async function ask(
  at: Repository,
  request: RegistryRequest,
  wanted: readonly number[],
  call: Call,
): Promise<RegistryResponse | Answer> {
  const attempt = async () => {
    const response = await open(at, request, call);
    if (!wanted.includes(response.status))
      expectStatus(at, request, await readAnswer(at.registry, response), wanted);
    const length = response.headers.get("content-length");
    const isSmall = length !== null && Number(length) <= MAX_WHOLE_BYTES;
    return isSmall ? readAnswer(at.registry, response, MAX_WHOLE_BYTES + 1) : response;
  };
  return retry(at.registry.retries, isTransient, retryAfterMs, attempt, call);
}

/** Does the same, but always reads the body, at most 16 MiB of it. */
export async function askWhole(
  at: Repository,
  request: RegistryRequest,
  wanted: readonly number[],
  call: Call,
): Promise<Answer> {
  const answer = await ask(at, request, wanted, call);
  return "bytes" in answer ? answer : readAnswer(at.registry, answer, MAX_LIST_BYTES);
}

/** GET: reads a document. `value` is undefined if it is too long or no JSON. */
export async function readJson(at: Repository, request: RegistryRequest, call: Call) {
  const { headers, bytes, text } = await askWhole(at, request, [200], call);
  return { headers, bytes, value: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
