import { describe, expect, test } from "bun:test";
import { startTokenServer, type TokenServer } from "../../dev/token-server/token-server.ts";
import { RegistryError } from "../../src/errors.ts";
import { type Credentials, secretsOf } from "../../src/registry/auth/credentials.ts";
import { fetchToken } from "../../src/registry/auth/token.ts";
import { startHttpServer } from "../support/http-server.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";

const ME = { username: "jürgen", password: "hush:Größe" };
const SCOPES = ["repository:team/app:pull,push", "repository:other:pull"];

function fetchFrom(
  { realm, service }: Pick<TokenServer, "realm"> & { service?: string },
  credentials?: Credentials,
  url = "http://registry.example",
) {
  const client = clientOf({ url });
  return fetchToken(
    client.registry,
    { realm, service, scopes: [] },
    SCOPES,
    credentials,
    secretsOf(credentials),
    client,
  );
}

describe("fetchToken", () => {
  test("asks as somebody, for all scopes", async () => {
    await using server = startTokenServer({ credentials: ME });
    const { value } = await fetchFrom(server, ME);
    expect(server.tokens).toEqual([value]);
    expect(server.requests).toMatchObject([
      { method: "GET", service: server.service, scopes: SCOPES, basic: "jürgen:hush:Größe" },
    ]);
  });

  test("asks as nobody", async () => {
    await using server = startTokenServer();
    await fetchFrom(server);
    expect(server.requests).toMatchObject([{ method: "GET", scopes: SCOPES, basic: undefined }]);
  });

  test("hands in an identity token by POST, and nowhere else", async () => {
    await using server = startTokenServer({ identityToken: "id+en/ti=ty &token" });
    const { value } = await fetchFrom(server, { identityToken: "id+en/ti=ty &token" });
    expect(server.tokens).toEqual([value]);
    expect(server.requests).toMatchObject([
      {
        method: "POST",
        basic: undefined,
        form: {
          grant_type: "refresh_token",
          refresh_token: "id+en/ti=ty &token",
          service: server.service,
          scope: SCOPES.join(" "),
          client_id: "chunkpush",
        },
      },
    ]);
  });

  test("keeps a query that the realm has", async () => {
    let asked = "";
    await using server = startHttpServer((request) => {
      asked = new URL(request.url).search;
      return Response.json({ token: "t" });
    });
    await fetchFrom({ realm: `${server.url}/token?tenant=a%20b` });
    expect(new URLSearchParams(asked).get("tenant")).toBe("a b");
    expect(new URLSearchParams(asked).getAll("scope")).toEqual(SCOPES);
  });

  const now = new Date();
  const date = now.toUTCString();
  const earlier = (seconds: number) => new Date(Date.parse(date) - seconds * 1000).toISOString();
  test.each<[string, object, Record<string, string>, string, number]>([
    ["token", { token: "t", expires_in: 300 }, {}, "t", 300],
    ["access_token", { access_token: "a", expires_in: 300 }, {}, "a", 300],
    ["both", { token: "t", access_token: "a", expires_in: 300 }, {}, "t", 300],
    ["an empty token beside the other", { token: "", access_token: "a", expires_in: 300 }, {}, "a", 300],
    ["no lifetime", { token: "t" }, {}, "t", 60],
    ["a lifetime of 0", { token: "t", expires_in: 0 }, {}, "t", 60],
    ["a lifetime as text", { token: "t", expires_in: "120" }, {}, "t", 120],
    ["a lifetime that is none", { token: "t", expires_in: "soon" }, {}, "t", 60],
    ["an age", { token: "t", expires_in: 300, issued_at: earlier(100) }, { date }, "t", 200],
    ["an age in the future", { token: "t", expires_in: 300, issued_at: earlier(-100) }, { date }, "t", 300],
    ["an age that is none", { token: "t", expires_in: 300, issued_at: "yesterday" }, { date }, "t", 300],
  ])("reads %s", async (_, body, headers, value, lifetimeSeconds) => {
    await using server = startHttpServer(() => Response.json(body, { headers }));
    const token = await fetchFrom({ realm: server.url });
    expect(token).toEqual({ value, lifetimeMs: lifetimeSeconds * 1000 });
  });

  test.each([
    "",
    "<html>",
    "null",
    "[]",
    "{}",
    '{"token":5}',
    '{"token":""}',
    '{"token":"two\\r\\nlines: x"}',
  ])("finds no token in %j", async (body) => {
    await using server = startHttpServer(() => new Response(body));
    const error = await rejection(fetchFrom({ realm: server.url }));
    expect(error.code).toBe("TOKEN_FAILED");
    expect(error.message).toContain("issued no token");
    expect(error.hint).toBeString();
  });
});

describe("the realm", () => {
  test.each([
    "x",
    "/token",
    "",
    "ftp://auth.example/",
    "https://me:pass-Xq7@auth.example/",
    "https://Xq7@auth.example/",
    "javascript:1",
  ])("%j is refused", async (realm) => {
    const error = await rejection(fetchFrom({ realm }, ME));
    expect(error.code).toBe("TOKEN_FAILED");
    expect(error.message).toContain("address of a token server");
    expect(error.message).not.toContain("Xq7");
  });

  test("in plain HTTP is refused by a registry with TLS, before anything is sent", async () => {
    await using server = startTokenServer();
    const error = await rejection(fetchFrom(server, ME, "https://registry.example"));
    expect(error.code).toBe("TOKEN_FAILED");
    expect(error.message).toContain("plain HTTP");
    expect(server.requests).toEqual([]);
  });

  test.each<[number, Credentials]>([
    [302, ME],
    [307, ME],
    [308, { identityToken: "identity-Xq7" }],
  ])("that redirects by %d takes the credentials nowhere", async (status, credentials) => {
    await using other = startTokenServer();
    await using server = startHttpServer(
      () => new Response(null, { status, headers: { location: other.realm } }),
    );
    expect((await rejection(fetchFrom({ realm: server.url }, credentials))).code).toBe("TOKEN_FAILED");
    expect(other.requests).toEqual([]);
  });
});

describe("a refusal of the token server", () => {
  const IDENTITY = { identityToken: "identity-Xq7" };
  test.each<[string, number, Credentials | undefined, string, string]>([
    ["a wrong password", 401, ME, "UNAUTHORIZED", "does not accept"],
    ["nobody", 401, undefined, "UNAUTHORIZED", "requires a login"],
    ["an identity token that is over", 400, IDENTITY, "UNAUTHORIZED", "does not accept the identity token"],
    [
      "an identity token that is not known",
      401,
      IDENTITY,
      "UNAUTHORIZED",
      "does not accept the identity token",
    ],
    ["a user without rights", 403, ME, "DENIED", 'push to "team/app"'],
    ["what is no token server", 404, ME, "TOKEN_FAILED", "issued no token"],
  ])("for %s, with %d, is explained", async (_, status, credentials, code, words) => {
    const said = '{"errors":[{"code":"NO","message":"not you, hush:Größe, identity-Xq7"}]}';
    await using server = startHttpServer(() => new Response(said, { status }));
    const error = await rejection(fetchFrom({ realm: `${server.url}/token` }, credentials));
    expect(error.code as string).toBe(code);
    // To whoever uploads, an answer of the token server is none of the registry's.
    expect(error).not.toBeInstanceOf(RegistryError);
    expect(error.message).toContain(words);
    expect(error.message).toContain(`${server.url}/token answered ${status} (NO: not you`);
    if (credentials === ME) expect(error.message).not.toContain("hush");
    if (credentials === IDENTITY) expect(error.message).not.toContain("identity-Xq7");
  });

  test.each([429, 500, 503])(
    "with %d may be retried, after the time that the server asks for",
    async (status) => {
      const headers = { "retry-after": "7" };
      await using server = startHttpServer(() => new Response(null, { status, headers }));
      const error = await rejection(fetchFrom({ realm: server.url }, ME));
      if (!(error instanceof RegistryError)) throw error;
      expect(error.answer.headers.get("retry-after")).toBe("7");
      expect(error.answer.status).toBe(status);
    },
  );
});
