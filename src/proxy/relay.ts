import { deleteScope, pullScope } from "../registry/auth/scope.ts";
import { ask, askWhole } from "../registry/http/ask.ts";
import type { Call, Repository } from "../registry/registry.ts";
import { respond } from "./answers.ts";

/** The headers of a request that are passed on. The answer to a HEAD is about the whole blob or manifest. */
const ASKED = { HEAD: ["accept", "if-none-match"], GET: ["accept", "if-none-match", "range", "if-range"] };

/** The headers of an answer that are passed on. */
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

/** Passes on a GET or HEAD. Streams a large body. */
export async function relay(at: Repository, url: URL, client: Request, call: Call): Promise<Response> {
  const method = client.method === "HEAD" ? "HEAD" : "GET";
  const headers = pick(client.headers, ASKED[method]);
  const request = { method, url, headers, scopes: [pullScope(at.name)] } as const;
  const { status, headers: said, ...answer } = await ask(at, request, [200, 206, 304, 416], call);
  const body = "bytes" in answer ? answer.bytes : answer.body;
  return respond(status, pick(said, ANSWERED), method === "HEAD" || status === 304 ? null : body);
}

/** Passes on a DELETE. */
export async function relayDelete(at: Repository, url: URL, call: Call): Promise<Response> {
  await askWhole(at, { method: "DELETE", url, scopes: [deleteScope(at.name)] }, [200, 202, 204], call);
  return respond(202);
}

export function pick(headers: Headers, names: readonly string[]): Record<string, string> {
  const found = names.map((name) => [name, headers.get(name)] as const);
  return Object.fromEntries(found.filter((each): each is [string, string] => each[1] !== null));
}
