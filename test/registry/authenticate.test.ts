import { describe, expect, test } from "bun:test";
import {
  startTokenServer,
  type TokenServer,
  type TokenServerOptions,
} from "../../dev/token-server/token-server.ts";
import type { Call } from "../../src/registry/registry.ts";
import { clientOf, type TestClientOptions } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";

const ME = { username: "me", password: "hush-Xq7" };
const OWN_SCOPE = "repository:team/app:pull,push";

type Setup = AsyncDisposable & {
  readonly server: TokenServer;
  readonly auth: ReturnType<typeof ownAuth>;
  /** The headers of a 401. */
  challenge(scope?: string): Headers;
  passSeconds(seconds: number): void;
};

/** The authenticator, asked for the scope of the repository. */
function ownAuth(options: TestClientOptions = {}, url = "http://registry.example") {
  const client = clientOf({ url }, options);
  const { auth } = client.registry;
  return {
    ...auth,
    authorization: (call: Call = client) => auth.authorization([OWN_SCOPE], call),
    renew: (headers: Headers, refused: string | undefined, call: Call = client) =>
      auth.renew(headers, refused, [OWN_SCOPE], call),
  };
}

function setUp(options: TokenServerOptions = {}): Setup {
  const server = startTokenServer({ credentials: ME, ...options });
  let nowMs = 1_000_000;
  const auth = ownAuth({ credentials: ME, now: () => nowMs });
  return {
    server,
    auth,
    challenge: (scope) =>
      new Headers({
        "www-authenticate": `Bearer realm="${server.realm}",service="${server.service}"${scope === undefined ? "" : `,scope="${scope}"`}`,
      }),
    passSeconds: (seconds) => {
      nowMs += seconds * 1000;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

describe("before a token is asked for", () => {
  test("goes Basic", async () => {
    await using setup = setUp();
    expect(await setup.auth.authorization()).toBe(`Basic ${btoa("me:hush-Xq7")}`);
    expect(setup.server.requests).toEqual([]);
  });

  test("goes nothing for nobody, and for an identity token", async () => {
    expect(await ownAuth().authorization()).toBeUndefined();
    const auth = ownAuth({ credentials: { identityToken: "id" } });
    expect(await auth.authorization()).toBeUndefined();
    expect([ownAuth().isAnonymous, auth.isAnonymous]).toEqual([true, false]);
  });

  test("a 401 that wants Basic is final", async () => {
    await using setup = setUp();
    const headers = new Headers({ "www-authenticate": 'Basic realm="Registry"' });
    expect(await setup.auth.renew(headers, "Basic eA==")).toBeUndefined();
    expect(await setup.auth.renew(new Headers(), undefined)).toBeUndefined();
  });

  test("a 401 to a Basic value whose alphabet matters is answered once in the other, which then stays", async () => {
    // serverless-registry decodes the URL-safe alphabet alone.
    const auth = ownAuth({ credentials: { username: "me", password: "a?~>" } });
    const headers = new Headers({ "www-authenticate": 'Basic realm="Registry"' });
    const usual = (await auth.authorization()) ?? "";
    expect(usual).toMatch(/[+/]/);
    const safe = usual.replaceAll("+", "-").replaceAll("/", "_");
    // Two requests were under way at once.
    expect(await Promise.all([auth.renew(headers, usual), auth.renew(headers, usual)])).toEqual([safe, safe]);
    expect(await auth.authorization()).toBe(safe);
    expect(auth.secrets()).toContain(safe.slice("Basic ".length));
  });

  test("a 403 changes no alphabet", async () => {
    const auth = ownAuth({ credentials: { username: "me", password: "a?~>" } });
    const usual = await auth.authorization();
    await auth.renew(new Headers({ "www-authenticate": "Negotiate" }), usual);
    expect(await auth.authorization()).toBe(usual);
  });

  test("a token that is denied without a challenge is final, and nobody is asked for one", async () => {
    await using setup = setUp();
    expect(await setup.auth.renew(new Headers(), "Bearer token")).toBeUndefined();
  });
});

describe("a token", () => {
  test("is for the repository, whatever the greeting's challenge is for", async () => {
    await using setup = setUp();
    const basic = await setup.auth.authorization();
    // GHCR's own words.
    const renewed = await setup.auth.renew(setup.challenge("repository:user/image:pull"), basic);
    expect(renewed).toBe(`Bearer ${setup.server.tokens[0]}`);
    expect(setup.server.requests).toMatchObject([{ scopes: [OWN_SCOPE], basic: "me:hush-Xq7" }]);
  });

  test("is kept for its lifetime, less a margin", async () => {
    await using setup = setUp({ lifetimeSeconds: 300 });
    const first = await setup.auth.renew(setup.challenge(), undefined);
    setup.passSeconds(269);
    expect(await setup.auth.authorization()).toBe(first);
    expect(setup.server.requests).toHaveLength(1);
    setup.passSeconds(2);
    const second = await setup.auth.authorization();
    expect(second).toBe(`Bearer ${setup.server.tokens[1]}`);
    expect(await setup.auth.authorization()).toBe(second);
    expect(setup.server.requests).toHaveLength(2);
  });

  test("of two seconds is used for most of them", async () => {
    await using setup = setUp({ lifetimeSeconds: 2 });
    await setup.auth.renew(setup.challenge(), undefined);
    setup.passSeconds(1.4);
    await setup.auth.authorization();
    expect(setup.server.requests).toHaveLength(1);
    setup.passSeconds(0.2);
    await setup.auth.authorization();
    expect(setup.server.requests).toHaveLength(2);
  });

  test("of which nothing is said is kept for a minute", async () => {
    await using setup = setUp({ announcedSeconds: 0 });
    await setup.auth.renew(setup.challenge(), undefined);
    setup.passSeconds(44);
    await setup.auth.authorization();
    expect(setup.server.requests).toHaveLength(1);
    setup.passSeconds(2);
    await setup.auth.authorization();
    expect(setup.server.requests).toHaveLength(2);
  });

  test("is shared by all who need one at a time", async () => {
    await using setup = setUp({ lifetimeSeconds: 300 });
    const basic = await setup.auth.authorization();
    const firsts = [1, 2, 3, 4].map(() => setup.auth.renew(setup.challenge(), basic));
    expect(new Set(await Promise.all(firsts)).size).toBe(1);
    setup.passSeconds(290);
    const seconds = [1, 2, 3, 4].map(() => setup.auth.authorization());
    expect(new Set(await Promise.all(seconds)).size).toBe(1);
    expect(setup.server.requests).toHaveLength(2);
  });

  test("that was refused is replaced once for all whose requests it was refused to", async () => {
    await using setup = setUp();
    const first = await setup.auth.renew(setup.challenge(), undefined);
    const renewed = await setup.auth.renew(setup.challenge(OWN_SCOPE), first);
    expect(renewed).not.toBe(first);
    expect(await setup.auth.renew(setup.challenge(OWN_SCOPE), first)).toBe(renewed);
    expect(setup.server.requests).toHaveLength(2);
  });

  test("is asked for what the refused one lacked, that one time", async () => {
    await using setup = setUp();
    const first = await setup.auth.renew(setup.challenge(), undefined);
    await setup.auth.renew(setup.challenge("repository:team/app:push,pull"), first);
    const second = await setup.auth.authorization();
    await setup.auth.renew(setup.challenge("repository:team/app:delete repository:other:pull"), second);
    setup.passSeconds(1000);
    await setup.auth.authorization();
    expect(setup.server.requests.map(({ scopes }) => scopes)).toEqual([
      [OWN_SCOPE],
      [OWN_SCOPE],
      [OWN_SCOPE, "repository:team/app:delete", "repository:other:pull"],
      [OWN_SCOPE],
    ]);
  });

  test("is asked for again after a failure, which all share who waited", async () => {
    let count = 0;
    await using setup = setUp({
      intercept: () => (++count === 1 ? new Response(null, { status: 503 }) : undefined),
    });
    const work = [1, 2].map(() => rejection(setup.auth.renew(setup.challenge(), undefined)));
    expect((await Promise.all(work)).map(({ code }) => code)).toEqual(["TOKEN_FAILED", "TOKEN_FAILED"]);
    expect(setup.server.requests).toHaveLength(1);
    expect(await setup.auth.authorization()).toStartWith("Bearer ");
  });

  test("is one for each set of scopes", async () => {
    await using setup = await setUp();
    const client = clientOf({ url: "http://registry.example" }, { credentials: ME });
    const { auth } = client.registry;
    const own = [OWN_SCOPE];
    const mount = [OWN_SCOPE, "repository:team/base:pull"];
    await auth.renew(setup.challenge(), undefined, own, client);
    const token = await auth.authorization(mount, client);
    expect(await auth.authorization(mount, client)).toBe(token);
    expect(await auth.authorization(own, client)).not.toBe(token);
    await auth.authorization(["repository:team/other:pull,push"], client);
    expect(setup.server.requests.map(({ scopes }) => scopes)).toEqual([
      own,
      mount,
      ["repository:team/other:pull,push"],
    ]);
  });

  test("is asked for again where the request that asked for it was aborted, and another waits", async () => {
    const begun = Promise.withResolvers<void>();
    let count = 0;
    await using setup = await setUp({
      intercept: () => {
        if (++count > 1) return undefined;
        begun.resolve();
        return new Promise<Response>(() => {});
      },
    });
    const abort = new AbortController();
    const reason = new Error("enough");
    const call = { signal: abort.signal, onRetry: () => {} };
    const first = setup.auth.renew(setup.challenge(), undefined, call).catch((error: unknown) => error);
    const second = setup.auth.renew(setup.challenge(), undefined);
    await begun.promise;
    abort.abort(reason);
    expect(await first).toBe(reason);
    expect(await second).toBe(`Bearer ${setup.server.tokens[0]}`);
  });

  test("is a secret like the password", async () => {
    await using setup = setUp();
    const basic = btoa("me:hush-Xq7");
    expect(setup.auth.secrets()).toEqual(["hush-Xq7", basic, encodeURIComponent(basic)]);
    await setup.auth.renew(setup.challenge(), undefined);
    expect(setup.auth.secrets()).toContain(setup.server.tokens[0] ?? "?");
    const auth = ownAuth({ credentials: { identityToken: "id" } }, "");
    expect(auth.secrets()).toEqual(["id"]);
  });
});
