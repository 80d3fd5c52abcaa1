/** The addresses that the proxy knows, and what of them reaches the registry. */
import { describe, expect, test } from "bun:test";
import { routeOf } from "../../src/proxy/route.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startTestProxy } from "../support/proxy.ts";
import { rawStatus } from "../support/raw-request.ts";

const SHA256 = `sha256:${"0".repeat(64)}`;
const SHA512 = `sha512:${"0".repeat(128)}`;
const LONG = "a".repeat(255);

describe("a path", () => {
  test.each([
    ["/v2", { kind: "ping" }],
    ["/v2/", { kind: "ping" }],
    ["/v2/_catalog", { kind: "catalog" }],
    ["/v2/app/tags/list", { kind: "tags", name: "app" }],
    ["/v2/team/app/tags/list", { kind: "tags", name: "team/app" }],
    ["/v2/tags/tags/list", { kind: "tags", name: "tags" }],
    ["/v2/tags/list/tags/list", { kind: "tags", name: "tags/list" }],
    ["/v2/a/tags/list/tags/list", { kind: "tags", name: "a/tags/list" }],
    ["/v2/app/blobs/uploads", { kind: "uploads", name: "app" }],
    ["/v2/app/blobs/uploads/", { kind: "uploads", name: "app" }],
    ["/v2/a/blobs/uploads/blobs/uploads/", { kind: "uploads", name: "a/blobs/uploads" }],
    ["/v2/app/blobs/uploads/some-id", { kind: "upload", name: "app", id: "some-id" }],
    [
      "/v2/a/blobs/uploads/x/blobs/uploads/some-id",
      { kind: "upload", name: "a/blobs/uploads/x", id: "some-id" },
    ],
    [`/v2/app/blobs/${SHA256}`, { kind: "blob", name: "app", digest: SHA256 }],
    [`/v2/app/blobs/${SHA512}`, { kind: "blob", name: "app", digest: SHA512 }],
    [`/v2/blobs/blobs/${SHA256}`, { kind: "blob", name: "blobs", digest: SHA256 }],
    [`/v2/a/manifests/b/blobs/${SHA256}`, { kind: "blob", name: "a/manifests/b", digest: SHA256 }],
    [
      `/v2/a/blobs/${"b".repeat(9)}/manifests/v1`,
      { kind: "manifest", name: "a/blobs/bbbbbbbbb", reference: "v1" },
    ],
    ["/v2/app/manifests/v1", { kind: "manifest", name: "app", reference: "v1" }],
    ["/v2/manifests/manifests/manifests", { kind: "manifest", name: "manifests", reference: "manifests" }],
    ["/v2/a/manifests/manifests/v1", { kind: "manifest", name: "a/manifests", reference: "v1" }],
    [`/v2/app/manifests/${SHA512}`, { kind: "manifest", name: "app", reference: SHA512 }],
    [`/v2/app/referrers/${SHA256}`, { kind: "referrers", name: "app", digest: SHA256 }],
    [`/v2/${LONG}/tags/list`, { kind: "tags", name: LONG }],
  ] as const)("of the API is recognized: %s", (path, route) => {
    expect(routeOf(path)).toEqual(route);
  });

  test.each([
    "/",
    "/v1/app/tags/list",
    "/v2//tags/list",
    "//v2/app/tags/list",
    "/v2/app//tags/list",
    "/v2/app/tags//list",
    "/v2/app/tags/list/",
    "/v2/app/tags",
    "/v2/_catalog/",
    "/v2/App/tags/list",
    "/v2/app:v1/tags/list",
    "/v2/-app/tags/list",
    "/v2/a..b/tags/list",
    "/v2/a%2fb/tags/list",
    "/v2/../app/tags/list",
    "/v2/%2e%2e/tags/list",
    "/v2/a/./tags/list",
    "/v2/a\\b/tags/list",
    "/v2/é/tags/list",
    `/v2/${LONG}a/tags/list`,
    `/v2/${"a/".repeat(5000)}tags/list`,
    "/v2/app/manifests/.hidden",
    "/v2/app/manifests/..",
    "/v2/app/manifests/-v1",
    "/v2/app/manifests/v1%2f..",
    "/v2/app/manifests/v1/extra",
    `/v2/app/manifests/${"v".repeat(129)}`,
    "/v2/app/manifests/",
    "/v2/app/manifests/sha256:",
    "/v2/app/manifests/sha256:totallywrong",
    `/v2/app/blobs/${SHA256.replace("0", "A")}`,
    "/v2/app/manifests/sha256:a/../../b",
    "/v2/app/manifests/sha256:a%00",
    `/v2/app/blobs/sha256:${"0".repeat(201)}`,
    "/v2/app/blobs/v1",
    "/v2/app/blobs/",
    "/v2/app/referrers/v1",
    "/v2/app/blobs/uploads/a/b",
    "/v2/app/manifests/v1\nx",
    "/metrics",
    "/debug/pprof/",
    "/api/v2.0/users",
  ])("outside the API is not recognized: %j", (path) => {
    expect(routeOf(path)).toBeUndefined();
  });
});

describe("what a client asks for", () => {
  test("reaches the registry only in the form that was checked", async () => {
    const seen: string[] = [];
    await using upstream = startHttpServer((request) => {
      const { pathname, search } = new URL(request.url);
      seen.push(`${request.method} ${pathname}${search}`);
      return new Response(null, { status: 404 });
    });
    const repositoryOf = (name: string) => (name.startsWith("team/") ? name : undefined);
    await using proxy = await startTestProxy(upstream, { repositoryOf });
    const statuses: Record<string, number> = {};
    for (const path of [
      "/v2/team/app/manifests/v1",
      "/v2/team/../other/manifests/v1",
      "/v2/team/%2e%2e/other/manifests/v1",
      "/v2/team/..%2fother/manifests/v1",
      "/v2/team\\..\\other\\manifests\\v1",
      "/v2/team/app/manifests/../../../other/manifests/v1",
      "/v2/team/app/manifests/..%2f..%2f..%2f_catalog",
      `/v2/team/app/blobs/${SHA256}/../../../../other/blobs/${SHA256}`,
      "/v2/other/manifests/v1",
      "/v2/teamwork/x/manifests/v1",
      "/v2/team/manifests/v1",
      "/v2/team/app/manifests/v1?x=/../..",
      "/v2/team/app/manifests/v1#/../../other",
      "/v2/team/app/manifests/v1%23",
      "/v2/team/app/manifests/v1%3Fx",
      "//v2/team/app/manifests/v1",
      "http://registry.example.com/v2/other/manifests/v1",
      "http://registry.example.com/v2/team/x/manifests/v1",
    ])
      statuses[path] = await rawStatus(proxy.host, path);
    expect(seen).toEqual([
      "GET /v2/team/app/manifests/v1",
      "GET /v2/team/app/manifests/v1",
      "GET /v2/team/app/manifests/v1",
      "GET /v2/team/x/manifests/v1",
    ]);
    for (const status of Object.values(statuses)) expect([403, 404]).toContain(status);
    expect(statuses["/v2/team/../other/manifests/v1"]).toBe(403);
    expect(statuses["/v2/team/..%2fother/manifests/v1"]).toBe(404);
  });

  test("is refused with an error of the specification where the API has no such address or method", async () => {
    await using upstream = startHttpServer(() => new Response(null, { status: 500 }));
    await using proxy = await startTestProxy(upstream);
    for (const [method, path, status] of [
      ["GET", "/v2/app", 404],
      ["GET", "/metrics", 404],
      ["POST", "/v2/app/manifests/v1", 405],
      ["PATCH", "/v2/app/manifests/v1", 405],
      ["PUT", `/v2/app/blobs/${SHA256}`, 405],
      ["DELETE", "/v2/app/tags/list", 405],
      ["POST", "/v2/app/tags/list", 405],
      ["POST", "/v2/_catalog", 405],
      ["POST", "/v2/", 405],
      ["GET", "/v2/app/blobs/uploads/", 405],
      ["PUT", `/v2/app/referrers/${SHA256}`, 405],
      ["GET", `/v2/app/referrers/${SHA512}`, 400],
      ["GET", "/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000", 404],
    ] as const) {
      const response = await proxy.request(path, { method });
      const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
      expect([method, path, response.status]).toEqual([method, path, status]);
      expect(errors[0]).toEqual({ code: expect.stringMatching(/^[A-Z_]+$/), message: expect.any(String) });
    }
  });
});
