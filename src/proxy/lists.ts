import * as v from "valibot";
import { PushError } from "../errors.ts";
import { checkJson, object } from "../oci/json-schema.ts";
import { repeatsSecret } from "../registry/auth/credentials.ts";
import type { RegistryRequest } from "../registry/http/send-once.ts";
import type { Call, Repository } from "../registry/registry.ts";
import { respond } from "./answers.ts";
import { readJson } from "./relay.ts";

const LIST = object({
  name: v.optional(v.string()),
  tags: v.nullish(v.array(v.string())),
  repositories: v.nullish(v.array(v.string())),
});

/**
 * GET: a page of tags or repositories. The link to the next page leads here, and there is none after the last page:
 * serverless-registry sends one without `<>` and without end, which some clients follow for ever.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags
 *
 * @param client the address where the client has asked
 * @param isShown leaves repositories out
 */
export async function readList(
  at: Repository,
  url: URL,
  client: URL,
  scopes: readonly string[],
  call: Call,
  isShown: (repository: string) => boolean = () => true,
): Promise<Response> {
  url.search = client.search;
  const request: RegistryRequest = { method: "GET", url, scopes };
  const { headers, value } = await readJson(at, request, call);
  const page = checkJson(LIST, value);
  if (!("output" in page))
    throw new PushError("REGISTRY_FAILED", `${url.origin} answered with a list that is none.`);
  const { tags, repositories, ...rest } = page.output;
  const items = tags ?? repositories ?? [];
  const next = items.length === 0 ? undefined : nextPage(at, headers, url, client);
  const shown = {
    ...rest,
    ...(tags && { tags }),
    ...(repositories && { repositories: repositories.filter(isShown) }),
  };
  const link = next && { link: `<${next}>; rel="next"` };
  return respond(200, { "content-type": "application/json", ...link }, JSON.stringify(shown));
}

/**
 * Returns where the next page is. Undefined if there is none, or it would be the same or the first page. Throws
 * `REDIRECT_REFUSED` for an address that repeats a secret.
 */
export function nextPage(at: Repository, headers: Headers, url: URL, client: URL): string | undefined {
  const [, bracketed, bare] = /^\s*(?:<([^>]*)>|([^;,\s]+))\s*;/.exec(headers.get("link") ?? "") ?? [];
  const next = URL.parse(bracketed ?? bare ?? "", url.href);
  if (next === null || (bracketed ?? bare) === undefined) return undefined;
  if (repeatsSecret(next.search, at.registry.auth.secrets()))
    throw new PushError(
      "REDIRECT_REFUSED",
      `${url.origin} sent a Link that repeats the password or the token.`,
    );
  const last = next.searchParams.get("last");
  if (next.search === url.search || last === "" || (last !== null && last === url.searchParams.get("last")))
    return undefined;
  return `${client.pathname}${next.search}`;
}
