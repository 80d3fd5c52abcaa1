import { describe, expect, test } from "bun:test";
import { dockerTarget, strictTarget } from "../../test/faults/push-target.ts";
import { startHttpServer } from "../../test/support/http-server.ts";
import { requireParts } from "../../test/support/parts.ts";
import { talk } from "../../test/support/raw-request.ts";
import { startRawServer } from "../../test/support/raw-server.ts";
import { seededBytes } from "../../test/support/seeded-bytes.ts";
import {
  answer,
  type Fault,
  redirect,
  reset,
  slowLink,
  stall,
  throttle,
  tooMany,
  unauthorized,
} from "./fault.ts";
import { faultAtRequest, noFaults, type Plan } from "./plan.ts";
import { startFaultProxy } from "./proxy.ts";

type Received = { readonly method: string; readonly url: string; readonly host: string | null };

/** An upstream that gives every body back, and a proxy whose first request meets a fault. */
async function setUp(fault?: Fault) {
  await using resources = new AsyncDisposableStack();
  const received: Received[] = [];
  const bodies: (Uint8Array | "broken")[] = [];
  const { promise: broken, resolve: onBroken } = Promise.withResolvers<void>();
  const upstream = resources.use(
    startHttpServer(async (request) => {
      received.push({ method: request.method, url: request.url, host: request.headers.get("host") });
      try {
        const body = await request.bytes();
        bodies.push(body);
        return new Response(body);
      } catch {
        bodies.push("broken");
        onBroken();
        return new Response();
      }
    }),
  );
  const plan = fault ? faultAtRequest(1, fault) : noFaults;
  const proxy = resources.use(await startFaultProxy({ upstreamHost: () => upstream.host, plan }));
  const owned = resources.move();
  return { proxy, received, bodies, broken, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const BODY = seededBytes(300_000, 1);
const PATCH = "PATCH /v2/a HTTP/1.1\r\nHost: registry\r\nContent-Length: 10\r\n\r\n";

describe("The fault proxy without a fault", () => {
  test("passes everything unchanged, and keeps the connection", async () => {
    await using setup = await setUp();
    for (let i = 0; i < 3; i++) {
      const response = await fetch(`${setup.proxy.url}/v2/a?b=c%20d`, { method: "PATCH", body: BODY });
      expect(await response.bytes()).toEqual(BODY);
    }
    expect(setup.received[0]).toMatchObject({ method: "PATCH", host: setup.proxy.host });
    expect(setup.received[0]?.url).toBe(`${setup.proxy.url}/v2/a?b=c%20d`);
    expect(setup.proxy.requests.map(({ status, bodyBytes }) => [status, bodyBytes])).toEqual(
      [1, 2, 3].map(() => [200, BODY.length]),
    );
  });

  test("passes a chunked body, and a second request after it", async () => {
    await using setup = await setUp();
    const chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    const { text, error } = await talk(
      setup.proxy.host,
      `${chunked}${chunked.replace("Host: a", "Host: a\r\nConnection: close").replace("abc", "xyz")}`,
    );
    expect(error).toBeUndefined();
    expect(text).toContain("abc");
    expect(text).toEndWith("xyz");
    expect(setup.bodies.map(String)).toEqual(["97,98,99", "120,121,122"]);
  });

  test.each([
    [
      "chunks",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ],
    ["no length", "HTTP/1.1 200 OK\r\n\r\nhi, until the end"],
    [
      "something before it",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    ],
  ])("passes an answer with %s", async (_, reply) => {
    await using upstream = startRawServer(reply);
    await using proxy = await startFaultProxy({ upstreamHost: () => upstream.host });
    expect(await talk(proxy.host, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).toEqual({
      text: reply,
      error: undefined,
    });
  });

  test("breaks the client's connection after an answer that is cut short", async () => {
    await using upstream = startRawServer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhi");
    await using proxy = await startFaultProxy({ upstreamHost: () => upstream.host });
    expect((await talk(proxy.host, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).error).toBe("ECONNRESET");
  });

  test("can stop while the registry is silent", async () => {
    await using upstream = startRawServer(undefined);
    const proxy = await startFaultProxy({ upstreamHost: () => upstream.host });
    const reply = talk(proxy.host, PATCH);
    while (proxy.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await proxy[Symbol.asyncDispose]();
    expect(await reply).toEqual({ text: "", error: "ECONNRESET" });
  });

  test("breaks the client's connection if there is no registry", async () => {
    await using proxy = await startFaultProxy({ upstreamHost: () => "127.0.0.1:1" });
    expect((await talk(proxy.host, PATCH)).error).toBe("ECONNRESET");
  });

  test("finds a registry again that was restarted at another port", async () => {
    await using target = await strictTarget();
    await using proxy = await startFaultProxy({ upstreamHost: target.upstreamHost });
    const before = target.upstreamHost();
    const { headers } = await fetch(`${proxy.url}/v2/a/blobs/uploads/`, { method: "POST" });
    await target.restart();
    expect(target.upstreamHost()).not.toBe(before);
    expect((await fetch(`${proxy.url}${headers.get("location")}`)).status).toBe(204);
  });
});

describe("A reset by the fault proxy", () => {
  test("before the request reaches the client, and the registry gets nothing", async () => {
    await using setup = await setUp(reset("before"));
    expect(await talk(setup.proxy.host, PATCH)).toEqual({ text: "", error: "ECONNRESET" });
    expect(setup.received).toEqual([]);
    expect(setup.proxy.requests[0]).toMatchObject({ status: 0, fault: "reset before the request" });
  });

  test("in the body reaches the client, and breaks the registry's connection after half of it", async () => {
    await using setup = await setUp(reset("middle"));
    // The other half is never sent: half of it is all that is waited for.
    expect(await talk(setup.proxy.host, `${PATCH}01234`)).toEqual({ text: "", error: "ECONNRESET" });
    await setup.broken;
    expect(setup.bodies).toEqual(["broken"]);
  });

  test("in the body of a request without one lets nothing through to the registry", async () => {
    await using setup = await setUp(reset("middle"));
    expect((await talk(setup.proxy.host, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")).error).toBe("ECONNRESET");
    expect(setup.received).toEqual([]);
  });

  test("instead of the answer reaches the client, and the registry gets the request", async () => {
    await using setup = await setUp(reset("after"));
    expect(await talk(setup.proxy.host, `${PATCH}0123456789`)).toEqual({ text: "", error: "ECONNRESET" });
    expect(setup.bodies.map((body) => Buffer.from(body).toString())).toEqual(["0123456789"]);
  });

  test.each(["before", "middle", "after"] as const)("comes with its cause: %s", async (moment) => {
    let calls = 0;
    await using setup = await setUp(reset(moment, { name: "cause", act: async () => void calls++ }));
    expect((await talk(setup.proxy.host, `${PATCH}0123456789`)).error).toBe("ECONNRESET");
    expect(calls).toBe(1);
    expect(setup.proxy.requests[0]?.fault).toStartWith("cause ");
  });
});

describe("An answer by the fault proxy itself", () => {
  test("comes after the body, and keeps the connection", async () => {
    await using setup = await setUp(answer(520));
    const { text } = await talk(
      setup.proxy.host,
      `${PATCH}0123456789GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    expect(text).toStartWith("HTTP/1.1 520 ");
    expect(text).toContain("HTTP/1.1 200 OK");
    expect(setup.received.map(({ method }) => method)).toEqual(["GET"]);
    expect(setup.proxy.requests.map(({ bodyBytes }) => bodyBytes)).toEqual([10, 0]);
  });

  test("comes before the body, which is never sent", async () => {
    await using setup = await setUp(answer(413, "unread"));
    const { text, error } = await talk(setup.proxy.host, PATCH);
    expect(error).toBeUndefined();
    expect(text).toStartWith("HTTP/1.1 413 ");
    expect(text).toContain("connection: close");
    expect(setup.received).toEqual([]);
  });

  test("can be followed by a reset", async () => {
    await using setup = await setUp(answer(503, "cut"));
    expect((await talk(setup.proxy.host, PATCH)).error).toBe("ECONNRESET");
    expect(setup.received).toEqual([]);
  });

  test("has no body for HEAD", async () => {
    await using setup = await setUp(answer(500));
    const response = await fetch(setup.proxy.url, { method: "HEAD" });
    expect(response.status).toBe(500);
    expect((await fetch(setup.proxy.url)).status).toBe(200);
  });

  test("has the time to wait in either form, and the token that is wanted", async () => {
    const headersOf = async (fault: Fault) => {
      await using setup = await setUp(fault);
      return (await fetch(setup.proxy.url)).headers;
    };
    expect((await headersOf(tooMany("seconds", 7))).get("retry-after")).toBe("7");
    const before = Math.floor(Date.now() / 1000) * 1000;
    const date = (await headersOf(tooMany("date", 3600))).get("retry-after") ?? "";
    expect(date).toEndWith(" GMT");
    expect(Date.parse(date)).toBeGreaterThanOrEqual(before + 3_600_000);
    const challenge = 'Bearer realm="http://127.0.0.1/token",error="invalid_token"';
    expect((await headersOf(unauthorized(challenge))).get("www-authenticate")).toBe(challenge);
  });
});

test("A stall in the fault proxy ends when the client gives up, and not before", async () => {
  await using setup = await setUp(stall());
  const abort = new AbortController();
  const failed = fetch(setup.proxy.url, { method: "PUT", body: BODY, signal: abort.signal }).catch(
    (error: Error) => error.name,
  );
  // The second request is through while the first one still waits.
  while (setup.proxy.requests[0]?.bodyBytes !== BODY.length)
    await new Promise((resolve) => setImmediate(resolve));
  expect((await fetch(setup.proxy.url)).status).toBe(200);
  abort.abort();
  expect(await failed).toBe("AbortError");
  expect(setup.proxy.requests[0]).toMatchObject({ fault: "stall", status: 0 });
});

test("A slow link in the fault proxy changes only the pace", async () => {
  await using setup = await setUp(throttle(2_000_000));
  const response = await fetch(setup.proxy.url, { method: "PUT", body: BODY });
  expect(await response.bytes()).toEqual(BODY);
});

describe("A link in the fault proxy that requests share", () => {
  async function setUpLink(options: Parameters<typeof slowLink>[0]) {
    await using resources = new AsyncDisposableStack();
    const upstream = resources.use(startHttpServer(async (request) => new Response(await request.bytes())));
    const fault = slowLink(options);
    const plan: Plan = () => fault;
    const proxy = resources.use(await startFaultProxy({ upstreamHost: () => upstream.host, plan }));
    const owned = resources.move();
    return { url: proxy.url, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  }

  /** On a connection of its own: on one that was used before, Bun would try again by itself. */
  const put = async (url: string) =>
    (await fetch(url, { method: "PUT", body: BODY, keepalive: false })).bytes();

  test("changes only the pace", async () => {
    await using link = await setUpLink({ bytesPerSecond: 4_000_000, latencyMs: 1 });
    expect(await Promise.all([put(link.url), put(link.url)])).toEqual([BODY, BODY]);
  });

  test("breaks only the connection that sends the byte of a reset", async () => {
    const resetsAt = [BODY.length * 2.5];
    await using link = await setUpLink({ bytesPerSecond: 100_000_000, latencyMs: 0, resetsAt });
    expect(await put(link.url)).toEqual(BODY);
    expect(await put(link.url).catch((error: NodeJS.ErrnoException) => error.code)).toBe("ECONNRESET");
    expect(await put(link.url)).toEqual(BODY);
  });
});

test.each(["read", "unread"] as const)(
  "a redirect leads to another origin with the same behind it: body %s",
  async (body) => {
    await using setup = await setUp(redirect(body, 308));
    const response = await fetch(`${setup.proxy.url}/v2/a?b`, {
      method: "PUT",
      body: "abc",
      redirect: "manual",
    });
    expect(response.status).toBe(308);
    const location = response.headers.get("location") ?? "";
    expect(location).toEndWith("/v2/a?b");
    expect(location).not.toStartWith(setup.proxy.url);
    expect(await (await fetch(location, { method: "PUT", body: "abc" })).text()).toBe("abc");
    expect(setup.proxy.requests).toHaveLength(2);
  },
);

describe.skipIf(!requireParts("docker-registry"))("docker-registry", () => {
  test("behind the fault proxy answers with the proxy's address", async () => {
    await using target = await dockerTarget();
    await using proxy = await startFaultProxy({ upstreamHost: target.upstreamHost });
    const { headers } = await fetch(`${proxy.url}/v2/a/blobs/uploads/`, { method: "POST" });
    expect(headers.get("location")).toStartWith(`${proxy.url}/v2/a/blobs/uploads/`);
  });
});
