import * as v from "valibot";
import { PushError } from "../errors.ts";
import { checkJson, object } from "../oci/json-schema.ts";
import { repeatsSecret } from "../registry/auth/credentials.ts";
import { readJson } from "../registry/http/ask.ts";
import type { Call, Repository } from "../registry/registry.ts";
import { respond } from "./answers.ts";

const LIST = object({
  tags: v.nullish(v.array(v.string())),
  repositories: v.nullish(v.array(v.string())),
});

/**
 * GET: reads a page of tags or repositories. Its link to the next page points to this proxy. The last page has no link:
 * serverless-registry sends one without `<>` on every page, which some clients follow for ever.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 *
 * @param client the address of the client's request
 * @param isShown tells which repositories to show
 */
export async function readList(
  at: Repository,
  url: URL,
  client: URL,
  scopes: readonly string[],
  call: Call,
  isShown?: (repository: string) => boolean,
): Promise<Response> {
  url.search = client.search;
  const { headers, bytes, value } = await readJson(at, { method: "GET", url, scopes }, call);
  const page = checkJson(LIST, value);
  if (!("output" in page))
    throw new PushError("REGISTRY_UNSUPPORTED", `${url.origin} answered with an invalid list.`);
  const { tags, repositories } = page.output;
  const next = (tags ?? repositories ?? []).length === 0 ? undefined : nextPage(at, headers, url, client);
  return respond(
    200,
    { "content-type": "application/json", ...(next && { link: `<${next}>; rel="next"` }) },
    isShown === undefined ? bytes : JSON.stringify({ repositories: (repositories ?? []).filter(isShown) }),
  );
}

/**
 * Returns the path of the next page. Undefined if there is none, or if it is the same page or the first one. Throws
 * `REDIRECT_REFUSED` for an address that repeats a secret.
 */
export function nextPage(at: Repository, headers: Headers, url: URL, client: URL): string | undefined {
  const next = URL.parse(nextLink(headers.get("link") ?? "") ?? "", url.href);
  if (next === null || next.search === "" || next.search === url.search) return undefined;
  const last = next.searchParams.get("last");
  if (last === "" || (last !== null && last === url.searchParams.get("last"))) return undefined;
  if (repeatsSecret(next.search, at.registry.auth.secrets())) {
    throw new PushError(
      "REDIRECT_REFUSED",
      `${url.origin} sent a Link that repeats the password or the token.`,
    );
  }
  return `${client.pathname}${next.search}`;
}

/** Finds the address of the next page: https://www.rfc-editor.org/rfc/rfc8288#section-3 */
function nextLink(header: string): string | undefined {
  for (const [, bracketed, bare, parameters = ""] of header.matchAll(
    /(?:<([^>]*)>|([^;,\s]+))\s*((?:;[^,;]*)*)(?:,|$)/g,
  )) {
    const [, relation = "next"] = /;\s*rel\s*=\s*"?([^";\s]*)/i.exec(parameters) ?? [];
    if (relation === "next") return bracketed ?? bare;
  }
  return undefined;
}
