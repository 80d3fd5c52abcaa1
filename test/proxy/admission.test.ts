/** Who may use the proxy, and for what. */
import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startTestProxy } from "../support/proxy.ts";
import { rawRequest } from "../support/raw-request.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const BYTES = seededBytes(3000, 1);
const DIGEST = digestOf(BYTES);

/** A registry that has everything, and notes what it is asked. */
function startUpstream() {
  const seen: string[] = [];
  const server = startHttpServer((request) => {
    seen.push(`${request.method} ${request.url.slice(request.url.indexOf("/v2"))}`);
    return new Response("{}", { headers: { "content-type": "application/json" } });
  });
  return { ...server, seen };
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
}

describe("a request to the proxy", () => {
  const get = (...lines: string[]) =>
    ["GET /v2/team/app/manifests/v1 HTTP/1.1", ...lines, "", ""].join("\r\n");

  test.each([
    ["localhost:PORT"],
    ["LOCALHOST:PORT"],
    ["127.0.0.1:PORT"],
    ["host.docker.internal:PORT"],
    ["host.containers.internal:PORT"],
  ])("is admitted with the host %s", async (host) => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream);
    const [, port = ""] = proxy.host.split(":");
    expect(statusOf(await rawRequest(proxy.host, get(`Host: ${host.replace("PORT", port)}`)))).toBe(200);
  });

  test.each([
    ["another host", ["Host: registry.evil.example:PORT"]],
    ["a host that begins so", ["Host: localhost.evil.example:PORT"]],
    ["a host that ends so", ["Host: evil-localhost:PORT"]],
    ["a dot after the host", ["Host: localhost.:PORT"]],
    ["no port", ["Host: localhost"]],
    ["another port", ["Host: localhost:1"]],
    ["a port that goes on", ["Host: localhost:PORT0"]],
    ["a user before the host", ["Host: me@localhost:PORT"]],
    ["an address that is not written so", ["Host: 127.1:PORT"]],
    ["every address", ["Host: 0.0.0.0:PORT"]],
    ["an address where nobody listens", ["Host: [::1]:PORT"]],
    ["an empty host", ["Host: "]],
    ["no host", []],
    ["two hosts", ["Host: localhost:PORT", "Host: registry.evil.example"]],
    ["the origin of a page", ["Host: localhost:PORT", "Origin: http://registry.evil.example"]],
    ["an origin that is none", ["Host: localhost:PORT", "Origin: null"]],
    ["the origin of a page on this machine", ["Host: localhost:PORT", "Origin: http://localhost:PORT"]],
    ["a referer", ["Host: localhost:PORT", "Referer: http://registry.evil.example/"]],
    ["what browsers add", ["Host: localhost:PORT", "Sec-Fetch-Site: cross-site"]],
    ["what browsers add to an image", ["Host: localhost:PORT", "Sec-Fetch-Mode: no-cors"]],
    ["what browsers add to a typed address", ["Host: localhost:PORT", "Sec-Fetch-Site: none"]],
  ])("is refused with %s", async (_, lines) => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream);
    const [, port = ""] = proxy.host.split(":");
    const answer = await rawRequest(proxy.host, get(...lines.map((line) => line.replaceAll("PORT", port))));
    expect([400, 403]).toContain(statusOf(answer));
    expect(answer).not.toMatch(/access-control-/i);
    expect(upstream.seen).toEqual([]);
  });

  test("of HTTP/1.0 without a host is refused, without an error of our own", async () => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream);
    const answer = await rawRequest(proxy.host, "GET /v2/team/app/manifests/v1 HTTP/1.0\r\n\r\n");
    expect(statusOf(answer)).toBe(403);
  });

  test("from a web page that asks what it may send (CORS) is refused", async () => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream);
    const response = await proxy.request("/v2/team/app/manifests/v1", {
      method: "OPTIONS",
      headers: {
        origin: "http://registry.evil.example",
        "access-control-request-method": "PUT",
        "access-control-request-private-network": "true",
      },
    });
    expect(response.status).toBe(403);
    expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  test.each([
    ["two lengths", "Content-Length: 3\r\nContent-Length: 30"],
    ["a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked"],
    ["an encoding that is none", "Transfer-Encoding: xchunked"],
    ["a negative length", "Content-Length: -3"],
    ["a length with a sign", "Content-Length: +3"],
  ])("that can be read in two ways is refused: %s", async (_, lines) => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream);
    const inner = `GET /v2/team/other/manifests/v1 HTTP/1.1\r\nHost: ${proxy.host}\r\n\r\n`;
    const answer = await rawRequest(
      proxy.host,
      `PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: ${proxy.host}\r\n${lines}\r\n\r\n{}\n${inner}`,
      () => false,
    );
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 400"]);
    expect(upstream.seen).toEqual([]);
  });

  test("in TLS is answered in plain HTTP, so that Docker goes on in it", async () => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream);
    const hello = `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${"a".repeat(500)}`;
    expect(await rawRequest(proxy.host, hello)).toStartWith("HTTP/1.1 400 ");
  });
});

describe("a proxy that only reads", () => {
  test("refuses whatever writes, and asks the registry nothing", async () => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream, { readOnly: true });
    for (const [method, path] of [
      ["POST", "/v2/team/app/blobs/uploads/"],
      ["POST", `/v2/team/app/blobs/uploads/?digest=${DIGEST}`],
      ["POST", `/v2/team/app/blobs/uploads/?mount=${DIGEST}&from=team/base`],
      ["PATCH", "/v2/team/app/blobs/uploads/x"],
      ["PUT", "/v2/team/app/blobs/uploads/x"],
      ["DELETE", "/v2/team/app/blobs/uploads/x"],
      ["DELETE", `/v2/team/app/blobs/${DIGEST}`],
      ["PUT", "/v2/team/app/manifests/v1"],
      ["DELETE", "/v2/team/app/manifests/v1"],
      ["POST", "/v2/_catalog"],
      ["OPTIONS", "/v2/"],
      ["PROPFIND", "/v2/team/app/manifests/v1"],
    ] as const) {
      const answer = await rawRequest(
        proxy.host,
        `${method} ${path} HTTP/1.1\r\nHost: ${proxy.host}\r\nContent-Length: 0\r\n\r\n`,
      );
      expect([method, path, [400, 403].includes(statusOf(answer))]).toEqual([method, path, true]);
    }
    expect(upstream.seen).toEqual([]);
    expect((await proxy.request("/v2/")).status).toBe(200);
    expect((await proxy.request("/v2/team/app/manifests/v1")).status).toBe(200);
  });
});

describe("a proxy for some repositories", () => {
  const repositoryOf = (name: string) => (name.startsWith("team/") ? name : undefined);

  test("refuses the others, in every request", async () => {
    await using upstream = startUpstream();
    await using proxy = await startTestProxy(upstream, { repositoryOf });
    for (const [method, path] of [
      ["GET", "/v2/other/manifests/v1"],
      ["HEAD", `/v2/other/blobs/${DIGEST}`],
      ["GET", "/v2/other/tags/list"],
      ["GET", `/v2/other/referrers/${DIGEST}`],
      ["POST", "/v2/other/blobs/uploads/"],
      ["PUT", "/v2/teamwork/x/manifests/v1"],
      ["DELETE", "/v2/other/manifests/v1"],
    ] as const)
      expect([method, path, (await proxy.request(path, { method })).status]).toEqual([method, path, 403]);
    expect(upstream.seen).toEqual([]);
  });

  test("mounts no blob from another one", async () => {
    await using registry = await startTestRegistry();
    await using all = await startTestProxy(registry);
    const put = `/v2/other/app/blobs/uploads/?digest=${DIGEST}`;
    expect((await all.request(put, { method: "POST", body: BYTES })).status).toBe(201);
    await using proxy = await startTestProxy(registry, { repositoryOf });
    registry.requests.length = 0;
    for (const from of ["other/app", "team/../other/app", "other%2Fapp", ""]) {
      const path = `/v2/team/app/blobs/uploads/?mount=${DIGEST}&from=${from}`;
      expect((await proxy.request(path, { method: "POST" })).status).toBe(202);
    }
    expect(registry.requests).toEqual([]);
    const allowed = `/v2/team/app/blobs/uploads/?mount=${DIGEST}&from=other/app`;
    expect((await all.request(allowed, { method: "POST" })).status).toBe(201);
  });

  test("keeps an upload to the repository in which it was begun", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const begun = await proxy.request("/v2/team/app/blobs/uploads/", { method: "POST" });
    const place = (begun.headers.get("location") ?? "").replace("team/app", "team/other");
    for (const method of ["GET", "PATCH", "DELETE", "PUT"])
      expect((await proxy.request(place, { method })).status).toBe(404);
  });
});
