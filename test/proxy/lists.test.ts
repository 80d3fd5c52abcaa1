/** Lists of tags and repositories, page by page. */
import { describe, expect, test } from "bun:test";
import { startHttpServer } from "../support/http-server.ts";
import { startTestProxy } from "../support/proxy.ts";

type Page = { readonly status: number; readonly link: string | null; readonly body: unknown };

async function read(upstream: { readonly url: string }, path: string, allow = ""): Promise<Page> {
  await using proxy = await startTestProxy(upstream, {
    retries: 0,
    repositoryOf: (name) => (name.startsWith(allow) ? name : undefined),
  });
  const response = await proxy.request(path);
  return { status: response.status, link: response.headers.get("link"), body: await response.json() };
}

/** A registry that answers every request with one page. */
function pageServer(body: unknown, link?: string, seen: string[] = []) {
  return startHttpServer((request) => {
    seen.push(request.url.slice(request.url.indexOf("/v2")));
    return Response.json(body, { headers: link === undefined ? {} : { link } });
  });
}

const TAGS = { name: "team/app", tags: ["a", "b"] };

describe("a page of tags", () => {
  test("is asked for as the client asks", async () => {
    const seen: string[] = [];
    await using upstream = pageServer(TAGS, undefined, seen);
    const page = await read(upstream, "/v2/team/app/tags/list?n=2&last=x%2Fy");
    expect(page).toEqual({ status: 200, link: null, body: TAGS });
    expect(seen).toEqual(["/v2/team/app/tags/list?n=2&last=x%2Fy"]);
  });

  test.each([
    ['</v2/team/app/tags/list?n=2&last=b>; rel="next"', "n=2&last=b"],
    ["</v2/team/app/tags/list?n=2&last=b>; rel=next", "n=2&last=b"],
    ["</v2/team/app/tags/list?n=2&last=b>", "n=2&last=b"],
    ['/v2/team/app/tags/list?n=2&last=b; rel="next"', "n=2&last=b"],
    ["/v2/team/app/tags/list?n=2&last=b; rel=next", "n=2&last=b"],
    ['<?n=2&last=b>; rel="next"', "n=2&last=b"],
    ['<list?n=2&last=b>; rel="next"', "n=2&last=b"],
    ['<https://elsewhere.example/v2/other/tags/list?n=2&last=b>; rel="next"', "n=2&last=b"],
    ['http://elsewhere.example/v2/team/app/tags/list?n=2&last=b; rel="next"', "n=2&last=b"],
    ['</v2/team/app/tags/list?next_page=opaque%3D&n=2>; rel="next"', "next_page=opaque%3D&n=2"],
    ['</x?last=0>; rel="prev", </v2/team/app/tags/list?n=2&last=b>; rel="next"', "n=2&last=b"],
  ])("leads to the next one with %s", async (link, query) => {
    await using upstream = pageServer(TAGS, link);
    const page = await read(upstream, "/v2/team/app/tags/list?n=2&last=a");
    expect(page.link).toBe(`</v2/team/app/tags/list?${query}>; rel="next"`);
  });

  test.each([
    ["there is no link", TAGS, undefined],
    ["it is empty", { name: "team/app", tags: [] }, '</v2/team/app/tags/list?n=2&last=b>; rel="next"'],
    ["it has no tags", { name: "team/app", tags: null }, '</v2/team/app/tags/list?n=2&last=b>; rel="next"'],
    ["the link leads to the same page", TAGS, '</v2/team/app/tags/list?n=2&last=a>; rel="next"'],
    ["the link leads to the same page, written otherwise", TAGS, '</v2/x?last=a&n=2>; rel="next"'],
    ["the link leads to the first page", TAGS, '</v2/team/app/tags/list?n=2&last=>; rel="next"'],
    ["the link leads to the first page without parameters", TAGS, '</v2/team/app/tags/list>; rel="next"'],
    ["the link leads back", TAGS, '</v2/team/app/tags/list?n=2&last=0>; rel="prev"'],
    ["the link is none", TAGS, "nonsense"],
    ["the link is empty", TAGS, '<>; rel="next"'],
    ["the link is no address", TAGS, '<http://[>; rel="next"'],
  ])("is the last one where %s", async (_, body, link) => {
    await using upstream = pageServer(body, link);
    const page = await read(upstream, "/v2/team/app/tags/list?n=2&last=a");
    expect(page).toEqual({ status: 200, link: null, body });
  });

  test("is never followed for ever, as serverless-registry leads clients", async () => {
    // Bare, on every page, and to the first page after the last tag.
    const all = ["a", "b", "c", "d", "e"];
    await using upstream = startHttpServer((request) => {
      const { searchParams } = new URL(request.url);
      const n = Number(searchParams.get("n") ?? 1000);
      const last = searchParams.get("last") ?? "";
      const tags = all.filter((tag) => tag > last).slice(0, n);
      const link = `/v2/team/app/tags/list?n=${n}&last=${tags.at(-1) ?? ""}; rel=next`;
      return Response.json({ name: "team/app", tags }, { headers: { link } });
    });
    await using proxy = await startTestProxy(upstream);
    for (const n of [1, 2, 5, 1000]) {
      const tags: string[] = [];
      let next: string | undefined = `/v2/team/app/tags/list?n=${n}`;
      let pages = 0;
      while (next !== undefined && pages++ < 10) {
        const response = await proxy.request(next);
        tags.push(...((await response.json()) as { tags: string[] }).tags);
        next = /^<(.*)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
      }
      expect({ n, tags, isEndless: pages > 10 }).toEqual({ n, tags: all, isEndless: false });
    }
  });

  test.each([
    ["no JSON", "<html>"],
    ["no list", '{"tags": "a"}'],
    ["a list of something else", '{"tags": [1]}'],
    ["nothing", ""],
    ["too much", `{"tags": ["${"a".repeat(17 * 1024 * 1024)}"]}`],
  ])("is an error where the registry answers %s", async (_, body) => {
    await using upstream = startHttpServer(() => new Response(body));
    const page = await read(upstream, "/v2/team/app/tags/list");
    expect(page).toMatchObject({ status: 503, body: { errors: [{ code: "UNAVAILABLE" }] } });
  });
});

describe("the catalog", () => {
  const BODY = { repositories: ["other", "team", "team/app", "teamwork/x"] };

  test("is the registry's, with links that lead back to the proxy", async () => {
    const seen: string[] = [];
    const link = '<https://registry.example.com/v2/_catalog?n=4&last=teamwork%2Fx>; rel="next"';
    await using upstream = pageServer(BODY, link, seen);
    const page = await read(upstream, "/v2/_catalog?n=4");
    expect(page).toEqual({
      status: 200,
      link: '</v2/_catalog?n=4&last=teamwork%2Fx>; rel="next"',
      body: BODY,
    });
    expect(seen).toEqual(["/v2/_catalog?n=4"]);
  });

  test("leaves out what clients may not use, and goes on after a page of nothing else", async () => {
    const link = '</v2/_catalog?n=4&last=teamwork%2Fx>; rel="next"';
    await using upstream = pageServer(BODY, link);
    expect((await read(upstream, "/v2/_catalog", "team/")).body).toEqual({ repositories: ["team/app"] });
    expect(await read(upstream, "/v2/_catalog", "none/")).toEqual({
      status: 200,
      link: '</v2/_catalog?n=4&last=teamwork%2Fx>; rel="next"',
      body: { repositories: [] },
    });
  });
});
