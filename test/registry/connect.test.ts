import { describe, expect, test } from "bun:test";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { type ConnectOptions, connect as connectBy } from "../../src/registry/connect.ts";
import { findBlob } from "../../src/registry/find-blob.ts";
import type { Call } from "../../src/registry/registry.ts";
import { faultAt } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientAt, clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const connect = (to: ConnectOptions, call: Call = clientOf({ url: "" })) => connectBy(to, call);

const ME = { username: "me", password: "hush" };

function options(target: string, overrides: Partial<ConnectOptions> = {}): ConnectOptions {
  const { retries, stallTimeoutMs, notes, proxy } = clientOf({ url: "" }).registry;
  return {
    stallTimeoutMs,
    headers: {},
    trust: { ca: [] },
    proxy,
    parallel: 3,
    notes,
    target: parseReference(target),
    credentials: undefined,
    insecure: false,
    retries,
    ...overrides,
  };
}

describe("connect", () => {
  test("greets with the credentials, and keeps them for what follows", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const connected = await connect(options(`${registry.host}/team/app:v1`, { credentials: ME }));
    expect(connected.origin).toBe(registry.url);
    const client = clientAt(connected);
    await findBlob(client, blobOf(seededBytes(5, 5)).descriptor.digest, client);
    expect(registry.requests).toMatchObject([
      { path: "/v2/", status: 200, hadAuthorization: true },
      { kind: "head-blob", status: 404, hadAuthorization: true },
    ]);
  });

  test("goes without credentials where there are none", async () => {
    await using registry = await startTestRegistry();
    await connect(options(`${registry.host}/team/app:v1`));
    expect(registry.requests).toMatchObject([{ hadAuthorization: false }]);
  });

  test.each([
    { username: "me", password: "pass:with:colons" },
    { username: "me", password: "  inner and outer spaces  " },
    { username: "jürgen", password: "Größe €5 🔑" },
    { username: "me", password: "x".repeat(5000) },
  ])("says who it is in UTF-8: %j", async (credentials) => {
    await using registry = await startTestRegistry({ credentials });
    await connect(options(`${registry.host}/team/app:v1`, { credentials }));
    expect(registry.requests).toMatchObject([{ status: 200 }]);
  });

  // What URLs make of a host is not always what was written.
  test("sends the credentials however the host is written", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const host = registry.host.replace("127.0.0.1", "127.1");
    const connected = await connect(options(`http://${host}/team/app:v1`, { credentials: ME }));
    const client = clientAt(connected);
    await findBlob(client, blobOf(seededBytes(5, 5)).descriptor.digest, client);
    expect(registry.requests).toMatchObject([{ hadAuthorization: true }, { hadAuthorization: true }]);
  });

  test.each([
    ["plain HTTP on this machine", "", false],
    ["plain HTTP where it is asked for", "", true],
    ["the target's own word", "http://", false],
  ])("speaks %s", async (_, prefix, insecure) => {
    await using registry = await startTestRegistry();
    const connected = await connect(options(`${prefix}${registry.host}/team/app:v1`, { insecure }));
    expect(connected.origin).toBe(registry.url);
  });

  test("speaks TLS where the target says so, whatever else is said", async () => {
    await using registry = await startTestRegistry();
    const target = `https://${registry.host}/team/app:v1`;
    expect((await rejection(connect(options(target, { insecure: true })))).code).toBe("TLS_UNSUPPORTED");
    expect(registry.requests).toEqual([]);
  });

  test("asks for no right where no repository is named yet, and tells nobody of a push", async () => {
    await using tokens = startTokenServer({ credentials: ME });
    await using registry = await startTestRegistry({ tokens });
    const target = { scheme: undefined, host: registry.host };
    await connect(options("localhost/a", { target, credentials: ME }));
    expect(tokens.requests.map(({ scopes }) => scopes)).toEqual([[]]);

    for (const status of [401, 403]) {
      await using refusing = startHttpServer(() => new Response(null, { status }));
      const to = options("localhost/a", { target: { scheme: "http", host: refusing.host }, credentials: ME });
      expect((await rejection(connect(to))).message).not.toMatch(/push|""/);
    }
  });

  test("succeeds at a registry that does not know /v2/", async () => {
    await using server = startHttpServer(() => new Response("Not Found", { status: 404 }));
    expect((await connect(options(`${server.host}/team/app:v1`))).origin).toBe(server.url);
  });

  test.each([
    [undefined, "requires a login"],
    [{ username: "me", password: "wrong" }, "does not accept"],
  ])("says what the registry wants with a 401", async (credentials, words) => {
    await using registry = await startTestRegistry({ credentials: ME });
    const error = await rejection(connect(options(`${registry.host}/team/app:v1`, { credentials })));
    expect(error.code).toBe("UNAUTHORIZED");
    expect(error.message).toContain(words);
    expect(error.hint).toBeString();
    expect(registry.requests).toHaveLength(1);
  });

  test("does not blame the password where a redirect led elsewhere, so that it was not sent", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using front = startHttpServer(() => Response.redirect(`${registry.url}/v2/`, 301));
    const error = await rejection(connect(options(`${front.host}/team/app:v1`, { credentials: ME })));
    expect(error.code).toBe("UNAUTHORIZED");
    expect(error.message).toContain(registry.url);
    expect(error.message).not.toContain("does not accept");
    expect(registry.requests).toMatchObject([{ hadAuthorization: false }]);
  });

  test("fails with TOKEN_FAILED where the challenge has no address of a token server", async () => {
    const headers = { "www-authenticate": 'Bearer realm="here",service="r"' };
    await using server = startHttpServer(() => new Response(null, { status: 401, headers }));
    const error = await rejection(connect(options(`${server.host}/team/app:v1`, { credentials: ME })));
    expect(error.code).toBe("TOKEN_FAILED");
    expect(error.message).toContain("requires a token");
  });

  test.each([500, 503, 429])("asks again a server that is at fault: %d", async (status) => {
    let count = 0;
    await using server = startHttpServer(() => new Response(null, { status: ++count < 3 ? status : 200 }));
    await connect(options(`${server.host}/team/app:v1`));
    expect(count).toBe(3);
  });

  test("gives up a server that stays at fault", async () => {
    let count = 0;
    await using server = startHttpServer(() => {
      count++;
      return new Response(null, { status: 503 });
    });
    const { retries } = clientOf(server, { retries: 2 }).registry;
    const error = await rejection(connect(options(`${server.host}/team/app:v1`, { retries })));
    expect(error.code).toBe("REGISTRY_FAILED");
    expect(count).toBe(3);
  });

  test("does not ask again where nobody listens: that is a mistake in the command", async () => {
    const server = startHttpServer(() => new Response());
    await server[Symbol.asyncDispose]();
    const client = clientOf(server);
    const error = await rejection(connect(options(`${server.host}/team/app:v1`), client));
    expect(error.code).toBe("CONNECTION_REFUSED");
    expect(client.seenRetries).toEqual([]);
  });

  test("asks a registry again that is silent, and gives it up in the end", async () => {
    let count = 0;
    await using server = startHttpServer(() => {
      count++;
      return new Promise(() => {});
    });
    const target = `${server.host}/team/app:v1`;
    expect((await rejection(connect(options(target, { stallTimeoutMs: 100 })))).code).toBe("STALLED");
    expect(count).toBe(3);
  });

  test("asks again where the connection breaks", async () => {
    await using registry = await startTestRegistry({
      intercept: faultAt("ping", [1, 2], () => "drop" as const),
    });
    const client = clientOf({ url: "" });
    await connect(options(`${registry.host}/team/app:v1`), client);
    expect(registry.recorded("ping").map(({ status }) => status)).toEqual([0, 0, 200]);
    // As many as there would be, not as many as for other requests.
    expect(client.seenRetries).toMatchObject([
      { attempt: 1, retries: 2 },
      { attempt: 2, retries: 2 },
    ]);
  });
});

describe("a registry that decodes Basic in the URL-safe alphabet alone", () => {
  const password = "a?~>";
  /** As serverless-registry: https://github.com/cloudflare/serverless-registry */
  const strict = {
    credentials: { username: "me", password },
    intercept: ({ headers }: Request) =>
      /[+/]/.test(headers.get("authorization") ?? "")
        ? new Response(null, { status: 401, headers: { "www-authenticate": 'Basic realm="Registry"' } })
        : undefined,
  };

  test("gets a password in it after one refusal, and from then on", async () => {
    await using registry = await startTestRegistry(strict);
    const credentials = { username: "me", password };
    const connected = await connect(options(`${registry.host}/team/app:v1`, { credentials }));
    const client = clientAt(connected);
    await findBlob(client, blobOf(seededBytes(5, 5)).descriptor.digest, client);
    expect(registry.requests.map(({ status }) => status)).toEqual([401, 200, 404]);
  });

  test("refuses a wrong password after two requests", async () => {
    await using registry = await startTestRegistry(strict);
    const credentials = { username: "me", password: "b?~>" };
    const work = connect(options(`${registry.host}/team/app:v1`, { credentials }));
    expect((await rejection(work)).code).toBe("UNAUTHORIZED");
    expect(registry.requests.map(({ status }) => status)).toEqual([401, 401]);
  });
});
