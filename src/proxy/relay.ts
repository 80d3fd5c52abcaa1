import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { deleteScope, pullScope } from "../registry/auth/scope.ts";
import { expectStatus } from "../registry/http/expect-status.ts";
import { open } from "../registry/http/send.ts";
import { type RegistryRequest, type RegistryResponse, readAnswer } from "../registry/http/send-once.ts";
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

/** Asks the registry until it answers, in one of the wanted ways or with a refusal. Leaves the body to the caller. */
async function ask(
  at: Repository,
  request: RegistryRequest,
  wanted: readonly number[],
  call: Call,
): Promise<RegistryResponse> {
  const attempt = async () => {
    const response = await open(at, request, call);
    if (!wanted.includes(response.status))
      expectStatus(at, request, await readAnswer(at.registry, response), wanted);
    return response;
  };
  return retry(at.registry.retries, isTransient, retryAfterMs, attempt, call);
}

/** Passes on a request to read something. A large body is passed on as it comes. */
export async function relay(at: Repository, url: URL, client: Request, call: Call): Promise<Response> {
  const method = client.method === "HEAD" ? "HEAD" : "GET";
  const request = {
    method,
    url,
    headers: pick(client.headers, ASKED[method]),
    scopes: [pullScope(at.name)],
  } as const;
  const { status, headers, body } = await ask(at, request, [200, 206, 304, 416], call);
  const isSmall = Number(headers.get("content-length") ?? Number.POSITIVE_INFINITY) <= MAX_JSON_BYTES;
  // Bun leaves the length out where a body is passed on as it comes.
  const shown = isSmall && body !== null ? await readWhole(body) : body;
  return respond(status, pick(headers, ANSWERED), method === "HEAD" ? null : shown);
}

async function readWhole(body: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  return Buffer.concat(await Array.fromAsync(body));
}

/** Passes on a request to delete something. */
export async function relayDelete(at: Repository, url: URL, call: Call): Promise<Response> {
  const response = await ask(
    at,
    { method: "DELETE", url, scopes: [deleteScope(at.name)] },
    [200, 202, 204],
    call,
  );
  await readAnswer(at.registry, response);
  return respond(202);
}

export function pick(headers: Headers, names: readonly string[]): Record<string, string> {
  const found = names.map((name) => [name, headers.get(name)] as const);
  return Object.fromEntries(found.filter((each): each is [string, string] => each[1] !== null));
}

/** A list may be longer than an answer to a push. */
const MAX_LIST_BYTES = 16 * 1024 * 1024;

/** GET: reads a document. `value` is undefined for one that is no JSON, or too long. */
export async function readJson(at: Repository, request: RegistryRequest, call: Call) {
  const { body, headers } = await ask(at, request, [200], call);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body ?? []) {
    size += piece.length;
    if (size > MAX_LIST_BYTES) break;
    pieces.push(piece);
  }
  const bytes = Buffer.concat(pieces);
  return { headers, bytes, value: parsed(bytes) };
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
