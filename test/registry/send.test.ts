import { describe, expect, test } from "bun:test";
import { RegistryError } from "../../src/errors.ts";
import {
  exchange,
  exchangePersistently,
  resolveLocation,
  send as sendTo,
} from "../../src/registry/http/send.ts";
import { openResponse, type RegistryRequest } from "../../src/registry/http/send-once.ts";
import { startHttpServer, type TestServer } from "../support/http-server.ts";
import { startRawServer } from "../support/raw-server.ts";
import { clientOf, type TestClient } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";

type Seen = {
  method: string;
  url: string;
  authorization: string | null;
  length: string | null;
  bytes: Buffer;
};

/** Remembers what it is sent, and answers what the test says. */
function startWitness(answer: (request: Request) => Response): TestServer & { seen: Seen[] } {
  const seen: Seen[] = [];
  const server = startHttpServer(async (request) => {
    const bytes = Buffer.from(await request.bytes());
    const { method, url, headers } = request;
    seen.push({
      method,
      url,
      authorization: headers.get("authorization"),
      length: headers.get("content-length"),
      bytes,
    });
    return answer(request);
  });
  return { ...server, seen };
}

const send = (client: TestClient, request: RegistryRequest) => sendTo(client, request, client);

const ok = () => new Response(null, { status: 202 });
const BODY = seededBytes(700_000, 1);

describe("send", () => {
  test("gives the answer, whatever its status", async () => {
    await using server = startHttpServer(() => new Response("I am a teapot", { status: 418 }));
    const answer = await send(clientOf(server), { method: "GET", url: new URL(`${server.url}/v2/`) });
    expect(answer).toMatchObject({ status: 418, text: "I am a teapot" });
    expect(answer.url.href).toBe(`${server.url}/v2/`);
  });

  test("reads no more of an answer than it needs", async () => {
    await using server = startHttpServer(() => new Response("x".repeat(5_000_000)));
    const { text } = await send(clientOf(server), { method: "GET", url: new URL(server.url) });
    expect(text.length).toBeWithin(1024 * 1024, 2_500_000);
  });

  test.each([0, 1, 300_000])("sends a body of %d bytes with its length", async (size) => {
    await using server = startWitness(ok);
    const body = new Blob([seededBytes(size, 2)]);
    await send(clientOf(server), { method: "PUT", url: new URL(server.url), body });
    expect(server.seen).toMatchObject([{ length: `${size}`, bytes: { length: size } }]);
  });

  test.each(["POST", "PATCH", "PUT", "DELETE"] as const)(
    "%s without a body has a length of 0",
    async (method) => {
      await using server = startWitness(ok);
      await send(clientOf(server), { method, url: new URL(server.url) });
      expect(server.seen).toMatchObject([{ length: "0" }]);
    },
  );

  test("uses few connections for many requests", async () => {
    const ports = new Set<number | undefined>();
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request, { requestIP }) {
        await request.bytes();
        ports.add(requestIP.call(server, request)?.port);
        return ok();
      },
    });
    const url = new URL(`http://127.0.0.1:${server.port}/`);
    const client = clientOf({ url: url.origin });
    for (let i = 0; i < 40; i++) {
      await send(client, i % 2 ? { method: "PUT", url, body: new Blob([BODY]) } : { method: "GET", url });
    }
    await server.stop(true);
    expect(ports.size).toBeLessThanOrEqual(20);
  });

  test("sends its credentials to the registry's origin only", async () => {
    await using registry = startWitness(ok);
    await using other = startWitness(ok);
    const client = clientOf(registry, { authorization: "Basic eA==" });
    await send(client, { method: "POST", url: new URL(`${registry.url}/a`) });
    await send(client, { method: "POST", url: new URL(`${other.url}/a`) });
    expect(registry.seen.map(({ authorization }) => authorization)).toEqual(["Basic eA=="]);
    expect(other.seen.map(({ authorization }) => authorization)).toEqual([null]);
  });
});

describe("the body of a response", () => {
  const large = "x".repeat(5_000_000);

  test("may be streamed, whatever its size", async () => {
    await using server = startHttpServer(() => new Response(large));
    expect(await countStreamed(clientOf(server), server.url)).toBe(large.length);
  });

  test("does not stall while its reader is slow", async () => {
    await using server = startHttpServer(() => new Response(large));
    const client = clientOf(server, { stallTimeoutMs: 250 });
    expect(await countStreamed(client, server.url, () => Bun.sleep(300))).toBe(large.length);
  });

  /** Reads a response piece by piece. */
  async function countStreamed(client: TestClient, url: string, pause = async () => {}): Promise<number> {
    const request = { method: "GET", url: new URL(url) } as const;
    const { body } = await openResponse(client.registry, request, request.url, undefined, client);
    let readBytes = 0;
    for await (const piece of body ?? []) {
      if (readBytes < 100_000) await pause();
      readBytes += piece.length;
    }
    return readBytes;
  }
});

describe("the body of an answer", () => {
  test("ends with the reason if the request is aborted meanwhile", async () => {
    await using server = startHttpServer(
      () => new Response(new ReadableStream({ start: (controller) => controller.enqueue("begun") })),
    );
    const client = clientOf(server);
    const reason = new Error("enough");
    const sending = send(client, { method: "GET", url: new URL(server.url) });
    await Bun.sleep(5);
    client.abort.abort(reason);
    expect(await sending.then(String, (error: unknown) => error)).toBe(reason);
  });

  test("lets its connection serve the next request", async () => {
    const ports = new Set<number | undefined>();
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request, { requestIP }) {
        ports.add(requestIP.call(server, request)?.port);
        return new Response("x".repeat(100_000), { status: 404 });
      },
    });
    const url = new URL(`http://127.0.0.1:${server.port}/`);
    const client = clientOf({ url: url.origin });
    for (let i = 0; i < 20; i++) await exchange(client, { method: "GET", url }, [404], client);
    await server.stop(true);
    expect(ports.size).toBeLessThanOrEqual(3);
  });
});

describe("a redirect", () => {
  test.each([
    ["PATCH", 307],
    ["PATCH", 308],
    ["PUT", 307],
    ["PUT", 308],
  ] as const)("of %s by %d carries the body again, and no credentials elsewhere", async (method, status) => {
    await using storage = startWitness(ok);
    await using registry = startWitness(
      () => new Response(null, { status, headers: { location: `${storage.url}/put?signature=a%2Fb` } }),
    );
    const answer = await send(clientOf(registry, { authorization: "Basic eA==" }), {
      method,
      url: new URL(`${registry.url}/upload`),
      body: new Blob([BODY]),
    });
    expect(answer.status).toBe(202);
    expect(answer.url.href).toBe(`${storage.url}/put?signature=a%2Fb`);
    expect(registry.seen).toMatchObject([{ authorization: "Basic eA==" }]);
    expect(storage.seen).toMatchObject([
      { method, authorization: null, length: `${BODY.length}`, url: `${storage.url}/put?signature=a%2Fb` },
    ]);
    expect(storage.seen[0]?.bytes.equals(BODY)).toBe(true);
  });

  test("within the registry keeps the credentials", async () => {
    await using registry = startWitness((request) =>
      request.url.endsWith("/new")
        ? ok()
        : new Response(null, { status: 307, headers: { location: "/new" } }),
    );
    await send(clientOf(registry, { authorization: "Basic eA==" }), {
      method: "POST",
      url: new URL(`${registry.url}/old`),
    });
    expect(registry.seen.map(({ authorization }) => authorization)).toEqual(["Basic eA==", "Basic eA=="]);
  });

  test.each([301, 302, 303, 307, 308])("of GET by %d is followed", async (status) => {
    await using server = startWitness((request) =>
      request.url.endsWith("/new")
        ? new Response("here")
        : new Response(null, { status, headers: { location: "new" } }),
    );
    const { text } = await send(clientOf(server), { method: "GET", url: new URL(`${server.url}/old`) });
    expect(text).toBe("here");
  });

  test.each([301, 302, 303])("of PUT by %d is not, since it would lose the body", async (status) => {
    const headers = { location: "/new" };
    await using server = startWitness(() => new Response(null, { status, headers }));
    const request = { method: "PUT", url: new URL(server.url), body: new Blob(["abc"]) } as const;
    expect((await send(clientOf(server), request)).status).toBe(status);
    expect(server.seen).toHaveLength(1);
  });

  test("that leads in a circle ends", async () => {
    await using server = startWitness(
      () => new Response(null, { status: 307, headers: { location: "/again" } }),
    );
    const request = { method: "PATCH", url: new URL(server.url), body: new Blob(["abc"]) } as const;
    expect((await rejection(send(clientOf(server), request))).code).toBe("REDIRECT_REFUSED");
    expect(server.seen.length).toBeLessThanOrEqual(10);
  });
});

describe("a Location", () => {
  const locate = async (password: string) => {
    const location = "/v2/team/app/blobs/uploads/hush-Xq7-hush-Xq7-hush";
    await using server = startHttpServer(() => new Response(null, { status: 202, headers: { location } }));
    const client = clientOf(server, { credentials: { username: "me", password } });
    return await send(client, { method: "POST", url: new URL(server.url) });
  };

  test("that repeats a password is refused", async () => {
    const error = await rejection(locate("hush-Xq7-hush-Xq7"));
    expect(error.code).toBe("REDIRECT_REFUSED");
    expect(`${error.message}${error.hint}`).not.toContain("Xq7");
  });

  test("has a short one in it by chance", async () => {
    expect((await locate("uploads")).status).toBe(202);
  });
});

describe("resolveLocation", () => {
  const base = new URL("https://registry.example/v2/app/blobs/uploads/?old=1");

  test.each([
    ["/v2/app/1?state=x", "https://registry.example/v2/app/1?state=x"],
    ["1?state=x", "https://registry.example/v2/app/blobs/uploads/1?state=x"],
    ["?state=y", "https://registry.example/v2/app/blobs/uploads/?state=y"],
    ["//storage.example/1", "https://storage.example/1"],
    ["https://storage.example:8443/1?a=%2F%2f+~", "https://storage.example:8443/1?a=%2F%2f+~"],
  ])("resolves %s", (location, expected) => {
    expect(resolveLocation(location, base).href).toBe(expected);
  });

  test.each([
    "http://registry.example/1",
    "ftp://x/1",
    "file:///etc/passwd",
    "https://",
    "javascript:alert(1)",
  ])("refuses %s", async (location) => {
    const error = await rejection((async () => resolveLocation(location, base))());
    expect(error.code).toBe("REDIRECT_REFUSED");
  });

  test("lets http lead to https", () => {
    const from = new URL("http://registry.example/");
    expect(resolveLocation("https://registry.example/1", from).protocol).toBe("https:");
  });
});

describe("a request without an answer", () => {
  test("fails with STALLED at a silent server", async () => {
    await using server = startRawServer(undefined);
    const request = { method: "GET", url: new URL(server.url) } as const;
    expect((await rejection(send(clientOf(server, { stallTimeoutMs: 100 }), request))).code).toBe("STALLED");
  });

  test("fails with STALLED at a server that falls silent in the middle of its answer", async () => {
    await using server = startHttpServer(
      () => new Response(new ReadableStream({ start: (controller) => controller.enqueue("begun") })),
    );
    const request = { method: "GET", url: new URL(server.url) } as const;
    expect((await rejection(send(clientOf(server, { stallTimeoutMs: 100 }), request))).code).toBe("STALLED");
  });

  test("fails with CONNECTION_LOST at a server that speaks no HTTP, and quotes none of its bytes", async () => {
    await using server = startRawServer("220 \u001b[31mmail.example ESMTP\r\n");
    const error = await rejection(send(clientOf(server), { method: "GET", url: new URL(server.url) }));
    expect(error.code).toBe("CONNECTION_LOST");
    expect(error.message).not.toContain("mail.example");
  });

  test("fails with CONNECTION_REFUSED where nobody listens", async () => {
    const server = startHttpServer(ok);
    await server[Symbol.asyncDispose]();
    const error = await rejection(send(clientOf(server), { method: "GET", url: new URL(server.url) }));
    expect(error.code).toBe("CONNECTION_REFUSED");
    expect(error.message).toContain(server.url);
  });
});

describe("exchangePersistently", () => {
  test.each([
    ["a passing fault", 503, 4],
    ["nothing that is refused", 400, 1],
  ])("repeats %s", async (_, status, count) => {
    await using server = startWitness(() => new Response(null, { status }));
    const client = clientOf(server, { retries: 3 });
    const request = { method: "GET", url: new URL(server.url) } as const;
    const error = await rejection(exchangePersistently(client, request, [200], client));
    expect(error).toBeInstanceOf(RegistryError);
    expect(server.seen).toHaveLength(count);
    expect(client.seenRetries).toHaveLength(count - 1);
  });

  test("does not retry after a bug in the function that decides about retries", async () => {
    await using server = startWitness(() => new Response(null, { status: 503 }));
    const client = clientOf(server);
    const bug = new TypeError("a bug in the check");
    const request = { method: "GET", url: new URL(server.url) } as const;
    const isRetryable = () => {
      throw bug;
    };
    await expect(exchangePersistently(client, request, [200], client, isRetryable)).rejects.toBe(bug);
    expect(server.seen).toHaveLength(1);
    expect(client.seenRetries).toEqual([]);
  });
});
