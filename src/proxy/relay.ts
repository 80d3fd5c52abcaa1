import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { deleteScope, pullScope } from "../registry/auth/scope.ts";
import { expectStatus } from "../registry/http/expect-status.ts";
import { exchangePersistently, open } from "../registry/http/send.ts";
import {
  type Answer,
  type RegistryRequest,
  type RegistryResponse,
  readAnswer,
} from "../registry/http/send-once.ts";
import { isTransient, retryAfterMs } from "../registry/http/transient.ts";
import type { Call, Repository } from "../registry/registry.ts";
import { retry } from "../retry.ts";
import { respond } from "./answers.ts";

/** Headers of a request that a registry needs to know. The answer to a HEAD is about the whole. */
const ASKED = { HEAD: ["accept", "if-none-match"], GET: ["accept", "if-none-match", "range", "if-range"] };

/** Headers of an answer that mean the same to the client. */
const ANSWERED = [
  "accept-ranges",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "docker-content-digest",
  "etag",
  "oci-filters-applied",
];

/** A body of at most so many bytes is passed on whole: Bun tells the length of no other, and a cut one is asked for again. */
const MAX_WHOLE_BYTES = MAX_JSON_BYTES;

/** A list may be longer than an answer to a push. */
const MAX_LIST_BYTES = 16 * 1024 * 1024;

/** Asks the registry until it answers, in one of the wanted ways or with a refusal. Small bodies are read. */
async function ask(
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

/** Reads an answer, and what it says within reason. */
function askWhole(
  at: Repository,
  request: RegistryRequest,
  wanted: readonly number[],
  call: Call,
): Promise<Answer> {
  return exchangePersistently(at, { ...request, mostBytes: MAX_LIST_BYTES }, wanted, call);
}

/** Passes on a request to read something. A large body is passed on as it comes. */
export async function relay(at: Repository, url: URL, client: Request, call: Call): Promise<Response> {
  const method = client.method === "HEAD" ? "HEAD" : "GET";
  const headers = pick(client.headers, ASKED[method]);
  const request = { method, url, headers, scopes: [pullScope(at.name)] } as const;
  const { status, headers: said, ...answer } = await ask(at, request, [200, 206, 304, 416], call);
  const body = "bytes" in answer ? answer.bytes : answer.body;
  return respond(status, pick(said, ANSWERED), method === "HEAD" || status === 304 ? null : body);
}

/** Passes on a request to delete something. */
export async function relayDelete(at: Repository, url: URL, call: Call): Promise<Response> {
  await askWhole(at, { method: "DELETE", url, scopes: [deleteScope(at.name)] }, [200, 202, 204], call);
  return respond(202);
}

export function pick(headers: Headers, names: readonly string[]): Record<string, string> {
  const found = names.map((name) => [name, headers.get(name)] as const);
  return Object.fromEntries(found.filter((each): each is [string, string] => each[1] !== null));
}

/** GET: reads a document. `value` is undefined for one that is no JSON, or too long. */
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
