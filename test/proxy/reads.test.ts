/** Blobs and manifests that clients read through the proxy. */
import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { canonicalRepository } from "../../src/oci/reference.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startTestProxy } from "../support/proxy.ts";
import { startRawServer } from "../support/raw-server.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const BYTES = seededBytes(5000, 1);
const DIGEST = digestOf(BYTES);
const BLOB = `/v2/team/app/blobs/${DIGEST}`;
const CREDENTIALS = { username: "me", password: "a-password-of-the-registry" };

/** Answers with the blob, as registries do. */
function blobAnswer(request: Request): Response {
  const headers = new Headers({
    "docker-content-digest": DIGEST,
    etag: `"${DIGEST}"`,
    "accept-ranges": "bytes",
  });
  if (request.headers.get("if-none-match") === `"${DIGEST}"`)
    return new Response(null, { status: 304, headers });
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "") ?? [];
  if (from === undefined) {
    headers.set("content-length", `${BYTES.length}`);
    return new Response(request.method === "HEAD" ? null : BYTES, { headers });
  }
  if (Number(from) >= BYTES.length) {
    headers.set("content-range", `bytes */${BYTES.length}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set("content-range", `bytes ${from}-${to}/${BYTES.length}`);
  const part = BYTES.slice(Number(from), Number(to) + 1);
  headers.set("content-length", `${part.length}`);
  return new Response(request.method === "HEAD" ? null : part, { status: 206, headers });
}

async function errorOf(response: Response): Promise<{ code: string; message: string } | undefined> {
  return ((await response.json()) as { errors: { code: string; message: string }[] }).errors[0];
}

describe("a blob", () => {
  test("is read as the registry has it: whole, in part, or not at all if the client has it already", async () => {
    await using upstream = startHttpServer(blobAnswer);
    await using proxy = await startTestProxy(upstream);
    const head = await proxy.request(BLOB, { method: "HEAD" });
    expect([
      head.status,
      head.headers.get("content-length"),
      head.headers.get("docker-content-digest"),
    ]).toEqual([200, "5000", DIGEST]);
    expect(await (await proxy.request(BLOB)).bytes()).toEqual(BYTES);

    const part = await proxy.request(BLOB, { headers: { range: "bytes=100-199" } });
    expect([part.status, part.headers.get("content-range")]).toEqual([206, "bytes 100-199/5000"]);
    expect(await part.bytes()).toEqual(BYTES.slice(100, 200));

    const beyond = await proxy.request(BLOB, { headers: { range: "bytes=5000-5001" } });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */5000"]);

    const known = await proxy.request(BLOB, { headers: { "if-none-match": `"${DIGEST}"` } });
    expect([known.status, known.headers.get("etag")]).toEqual([304, `"${DIGEST}"`]);
  });

  test("has its whole size in the answer to a HEAD, whatever range that names", async () => {
    await using upstream = startHttpServer(blobAnswer);
    await using proxy = await startTestProxy(upstream);
    for (const range of ["bytes=0-9", "bytes=6000-6001"]) {
      const { status, headers } = await proxy.request(BLOB, { method: "HEAD", headers: { range } });
      expect([status, headers.get("content-length")]).toEqual([200, "5000"]);
    }
  });

  test("has the size that a GET tells where serverless-registry's HEAD tells that of something else", async () => {
    await using upstream = startHttpServer((request) =>
      request.method === "GET"
        ? blobAnswer(request)
        : new Response(null, {
            headers: { "content-length": "61", "docker-content-digest": `sha256:${"9".repeat(64)}` },
          }),
    );
    await using proxy = await startTestProxy(upstream);
    const { status, headers } = await proxy.request(BLOB, { method: "HEAD" });
    expect([status, headers.get("content-length"), headers.get("docker-content-digest")]).toEqual([
      200,
      "5000",
      DIGEST,
    ]);
  });

  test("comes as it is packed, with the header that says so", async () => {
    const packed = gzipSync(BYTES);
    await using upstream = startHttpServer(
      () =>
        new Response(packed, { headers: { "content-encoding": "gzip", "docker-content-digest": DIGEST } }),
    );
    await using proxy = await startTestProxy(upstream);
    const plain = await proxy.request(BLOB, { decompress: false } as object);
    expect(plain.headers.get("content-encoding")).toBe("gzip");
    expect(Buffer.compare(await plain.bytes(), packed)).toBe(0);
    expect(await (await proxy.request(BLOB)).bytes()).toEqual(BYTES);
  });

  test("comes as fast as the client reads, and longer than an answer may take", async () => {
    const piece = new Uint8Array(1 << 20);
    let given = 0;
    let isEnded = false;
    await using upstream = startHttpServer((request) => {
      request.signal.addEventListener("abort", () => {
        isEnded = true;
        ended.resolve();
      });
      return new Response(
        new ReadableStream(
          {
            pull(controller) {
              controller.enqueue(piece);
              if (++given === 200) controller.close();
            },
          },
          { highWaterMark: 0 },
        ),
      );
    });
    const ended = Promise.withResolvers<void>();
    await using proxy = await startTestProxy(upstream, { answerMs: 1000 });
    const response = await proxy.request(BLOB);
    const reader = response.body?.getReader();
    for (let i = 0; i < 10; i++) await reader?.read();
    // What the buffers of the systems hold: it stops by itself.
    let before = -1;
    while (before !== given) {
      before = given;
      for (let i = 0; i < 20; i++) await proxy.request("/v2/");
    }
    expect(given).toBeLessThan(100);
    expect(isEnded).toBe(false);
    // The client goes away, and so does the request to the registry.
    await reader?.cancel();
    await ended.promise;
    expect(given).toBeLessThan(100);
  });

  test.each([4999, 4 * 1024 * 1024 + 1])(
    "that the registry cuts is no whole one for the client: of %d bytes",
    async (length) => {
      for (const answer of [
        `Content-Length: ${length}\r\n\r\n${"a".repeat(1000)}`,
        `Transfer-Encoding: chunked\r\n\r\n3e8\r\n${"a".repeat(1000)}\r\n`,
      ]) {
        await using upstream = startRawServer(`HTTP/1.1 200 OK\r\n${answer}`);
        await using proxy = await startTestProxy(upstream, { retries: 0 });
        const read = async () => {
          const response = await proxy.request(BLOB);
          await response.bytes();
          return response.status;
        };
        const outcome = await read().catch(() => "broken");
        expect(["broken", 503]).toContain(outcome);
      }
    },
  );

  test("that is small says its length, whole and in part", async () => {
    await using upstream = startHttpServer(blobAnswer);
    await using proxy = await startTestProxy(upstream);
    for (const [range, status, length] of [
      ["", 200, 5000],
      ["bytes=0-9", 206, 10],
    ] as const) {
      const response = await proxy.request(BLOB, { headers: range === "" ? {} : { range } });
      expect([response.status, response.headers.get("content-length")]).toEqual([status, `${length}`]);
      expect(await response.bytes()).toEqual(BYTES.slice(0, length));
    }
  });

  test("that is small is asked for again where it is cut", async () => {
    const answers = ["5\r\n\r\nhel", "5\r\n\r\n", "5\r\n\r\nhello"];
    using upstream = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data: (socket) => void socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${answers.shift()}`),
      },
    });
    await using proxy = await startTestProxy({ url: `http://127.0.0.1:${upstream.port}` });
    const response = await proxy.request(BLOB);
    expect([response.status, await response.text()]).toEqual([200, "hello"]);
  });

  test("is fetched from the storage that the registry names, which gets no credentials", async () => {
    const asked: [string | null, string | null][] = [];
    await using storage = startHttpServer((request) => {
      asked.push([request.headers.get("authorization"), request.headers.get("range")]);
      return blobAnswer(request);
    });
    await using upstream = startHttpServer((request) =>
      request.headers.has("authorization")
        ? Response.redirect(`${storage.url}/bucket/object?signature=1`, 307)
        : new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } }),
    );
    await using proxy = await startTestProxy(upstream, { credentials: CREDENTIALS });
    const whole = await proxy.request(BLOB, { headers: { authorization: "Basic eDp5" } });
    expect(whole.redirected).toBe(false);
    expect(await whole.bytes()).toEqual(BYTES);
    const part = await proxy.request(BLOB, { headers: { range: "bytes=0-9" } });
    expect([part.status, await part.bytes()]).toEqual([206, BYTES.slice(0, 10)]);
    expect(asked).toEqual([
      [null, null],
      [null, "bytes=0-9"],
    ]);
  });
});

describe("the registry behind a proxy", () => {
  test("gets of the client's headers only what it needs to answer", async () => {
    const seen: Record<string, string>[] = [];
    await using upstream = startHttpServer((request) => {
      seen.push(Object.fromEntries(request.headers));
      return blobAnswer(request);
    });
    await using proxy = await startTestProxy(upstream, { credentials: CREDENTIALS });
    await proxy.request(BLOB, {
      headers: {
        accept: "application/a, */*",
        authorization: "Basic eDp5",
        cookie: "a=b",
        "proxy-authorization": "Basic eDp5",
        "x-forwarded-for": "10.0.0.1",
        "user-agent": "docker/28",
        "accept-encoding": "gzip",
      },
    });
    expect(seen).toHaveLength(1);
    const { host, connection, ...rest } = seen[0] ?? {};
    expect(rest).toEqual({
      accept: "application/a, */*",
      "accept-encoding": "identity",
      authorization: `Basic ${btoa(`${CREDENTIALS.username}:${CREDENTIALS.password}`)}`,
      "user-agent": "chunkpush",
    });
  });

  test.each([
    [400, 400, "UNKNOWN"],
    [401, 403, "DENIED"],
    [403, 403, "DENIED"],
    [404, 404, "NAME_UNKNOWN"],
    [405, 405, "UNSUPPORTED"],
    [410, 410, "UNKNOWN"],
    [451, 451, "UNKNOWN"],
    [429, 503, "UNAVAILABLE"],
    [500, 503, "UNAVAILABLE"],
    [503, 503, "UNAVAILABLE"],
  ])(
    "that answers %d makes the proxy answer %d to reads, and never ask for a login",
    async (status, expected, code) => {
      await using upstream = startHttpServer(
        () => new Response("no", { status, headers: { "www-authenticate": 'Basic realm="x"' } }),
      );
      await using proxy = await startTestProxy(upstream, { retries: 1, credentials: CREDENTIALS });
      for (const path of [BLOB, "/v2/team/app/manifests/v1", "/v2/team/app/tags/list", "/v2/_catalog"]) {
        const response = await proxy.request(path);
        expect([path, response.status, (await errorOf(response))?.code]).toEqual([path, expected, code]);
        expect(response.headers.has("www-authenticate")).toBe(false);
        expect((await proxy.request(path, { method: "HEAD" })).status).toBe(expected);
      }
    },
  );

  test("has its own error codes passed on", async () => {
    const body = JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "no such tag" }] });
    await using upstream = startHttpServer(() => new Response(body, { status: 404 }));
    await using proxy = await startTestProxy(upstream);
    const error = await errorOf(await proxy.request("/v2/team/app/manifests/v1"));
    expect(error).toEqual({ code: "MANIFEST_UNKNOWN", message: expect.stringContaining("no such tag") });
  });

  test("that is behind a login page for people does not have that page passed on", async () => {
    const page = "<title>Sign in ・ Cloudflare Access</title>";
    await using upstream = startHttpServer(
      () => new Response(page, { headers: { "content-type": "text/html" } }),
    );
    await using proxy = await startTestProxy(upstream);
    for (const path of [BLOB, "/v2/team/app/manifests/v1", "/v2/team/app/tags/list"]) {
      const response = await proxy.request(path);
      expect([path, response.status, (await errorOf(response))?.code]).toEqual([path, 403, "DENIED"]);
    }
  });

  test("that refuses a read is not reported to refuse a push", async () => {
    await using upstream = startHttpServer(() => new Response(null, { status: 403 }));
    await using proxy = await startTestProxy(upstream);
    const error = await errorOf(await proxy.request("/v2/team/app/manifests/v1"));
    expect(error?.message).not.toContain("push");
  });

  test("is asked again where it fails for a moment", async () => {
    let count = 0;
    await using upstream = startHttpServer((request) =>
      ++count < 3 ? new Response(null, { status: 503 }) : blobAnswer(request),
    );
    await using proxy = await startTestProxy(upstream);
    expect(await (await proxy.request(BLOB)).bytes()).toEqual(BYTES);
    expect(count).toBe(3);
  });

  test("that does not answer within the time of clients makes the proxy answer 503", async () => {
    const ended = Promise.withResolvers<void>();
    await using upstream = startHttpServer(async (request) => {
      request.signal.addEventListener("abort", () => ended.resolve());
      await ended.promise;
      return new Response(null, { status: 500 });
    });
    await using proxy = await startTestProxy(upstream, { answerMs: 50 });
    const response = await proxy.request(BLOB);
    expect([response.status, (await errorOf(response))?.code]).toEqual([503, "UNAVAILABLE"]);
    await ended.promise;
  });

  test("that is slow gets more time for a client that waits longer than containerd", async () => {
    const slow = Promise.withResolvers<void>();
    await using upstream = startHttpServer(async () => {
      await slow.promise;
      return new Response(null, { headers: { "content-length": "5" } });
    });
    await using proxy = await startTestProxy(upstream, { answerMs: 500 });
    const ask = (agent: string) => proxy.request(BLOB, { method: "HEAD", headers: { "user-agent": agent } });
    const patient = ask("skopeo/1.22.0");
    expect((await ask("containerd/2.1.9+unknown")).status).toBe(503);
    slow.resolve();
    expect((await patient).status).toBe(200);
  });

  test("that fails again and again is quoted when the time of clients is over", async () => {
    const body = JSON.stringify({ errors: [{ code: "UNKNOWN", message: "the bucket is gone" }] });
    await using upstream = startHttpServer(() => new Response(body, { status: 500 }));
    await using proxy = await startTestProxy(upstream, { answerMs: 100, retries: 1000 });
    const response = await proxy.request(BLOB);
    const error = await errorOf(response);
    expect([response.status, error?.message]).toEqual([503, expect.stringContaining("the bucket is gone")]);
  });

  test("that repeats a secret has it removed from messages and addresses", async () => {
    const { password } = CREDENTIALS;
    const secrets = [password, btoa(`${CREDENTIALS.username}:${password}`)];
    await using upstream = startHttpServer((request) => {
      const authorization = request.headers.get("authorization") ?? "";
      const errors = [{ code: "DENIED", message: `you sent ${authorization}, which is ${password}` }];
      const { pathname } = new URL(request.url);
      if (pathname.includes("/manifests/")) return Response.json({ errors }, { status: 403 });
      if (pathname.includes("/blobs/")) return Response.redirect(`/x?${authorization.slice(6)}`, 307);
      const link = `</v2/team/app/tags/list?last=b&token=${authorization.slice(6)}>; rel="next"`;
      return Response.json({ tags: ["a"] }, { headers: { link } });
    });
    await using proxy = await startTestProxy(upstream, { retries: 0, credentials: CREDENTIALS });
    for (const path of [BLOB, "/v2/team/app/manifests/v1", "/v2/team/app/tags/list"]) {
      const response = await proxy.request(path, { redirect: "manual" });
      const said = `${JSON.stringify([...response.headers])} ${await response.text()}`;
      for (const secret of secrets) expect(said).not.toContain(secret);
      expect(response.status).toBeGreaterThanOrEqual(400);
    }
  });

  test("is asked for Docker Hub's names as Docker does", async () => {
    const seen: string[] = [];
    await using upstream = startHttpServer((request) => {
      seen.push(new URL(request.url).pathname);
      return blobAnswer(request);
    });
    const repositoryOf = (name: string) => canonicalRepository("docker.io", name);
    await using proxy = await startTestProxy(upstream, { repositoryOf });
    for (const name of ["alpine", "me/app"]) await (await proxy.request(`/v2/${name}/manifests/v1`)).bytes();
    expect(seen).toEqual(["/v2/library/alpine/manifests/v1", "/v2/me/app/manifests/v1"]);
  });
});

describe("a registry with tokens", () => {
  test("gives them to the proxy, for reading alone, and again when they end", async () => {
    await using tokens = startTokenServer({ credentials: CREDENTIALS });
    await using registry = await startTestRegistry({ tokens });
    await using proxy = await startTestProxy(registry, { credentials: CREDENTIALS });
    const put = `/v2/team/app/blobs/uploads/?digest=${DIGEST}`;
    expect((await proxy.request(put, { method: "POST", body: BYTES })).status).toBe(201);
    tokens.requests.length = 0;
    tokens.revokeAll();
    const response = await proxy.request(BLOB);
    expect(await response.bytes()).toEqual(BYTES);
    tokens.revokeAll();
    expect((await proxy.request(BLOB, { method: "HEAD" })).status).toBe(200);
    expect((await proxy.request("/v2/team/app/manifests/none")).status).toBe(404);
    expect(tokens.requests.length).toBeGreaterThan(0);
    const scopes = tokens.requests.flatMap((asked) => JSON.stringify(asked));
    for (const scope of scopes) {
      expect(scope).toContain("team/app");
      expect(scope).not.toContain("push");
    }
    const text = JSON.stringify([...response.headers]);
    for (const token of tokens.tokens) expect(text).not.toContain(token);
  });

  test("gives them for a delete and for the catalog, which want rights of their own", async () => {
    await using tokens = startTokenServer({ credentials: CREDENTIALS });
    await using upstream = startHttpServer((request) => {
      const isCatalog = request.url.endsWith("/v2/_catalog");
      const wanted = isCatalog
        ? { type: "registry", name: "catalog", actions: ["*"] }
        : {
            type: "repository",
            name: "team/app",
            actions: [request.method === "DELETE" ? "delete" : "pull"],
          };
      if (tokens.allows(request.headers.get("authorization"), wanted))
        return Response.json({ repositories: ["team/app"] }, { status: isCatalog ? 200 : 202 });
      const scope = `${wanted.type}:${wanted.name}:${wanted.actions}`;
      const challenge = `Bearer realm="${tokens.realm}",service="${tokens.service}",scope="${scope}"`;
      return new Response(null, { status: 401, headers: { "www-authenticate": challenge } });
    });
    await using proxy = await startTestProxy(upstream, { retries: 0, credentials: CREDENTIALS });
    for (const path of ["/v2/team/app/manifests/v1", BLOB])
      expect((await proxy.request(path, { method: "DELETE" })).status).toBe(202);
    const catalog = await proxy.request("/v2/_catalog");
    expect([catalog.status, await catalog.json()]).toEqual([200, { repositories: ["team/app"] }]);
  });
});
