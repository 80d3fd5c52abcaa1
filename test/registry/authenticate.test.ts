import { describe, expect, test } from "bun:test";
import {
  startTokenServer,
  type TokenServer,
  type TokenServerOptions,
} from "../../dev/token-server/token-server.ts";
import { PushError } from "../../src/errors.ts";
import type { Credentials } from "../../src/registry/auth/credentials.ts";
import { exchange } from "../../src/registry/http/send.ts";
import { unlessAborted } from "../../src/registry/http/unless-aborted.ts";
import type { Call } from "../../src/registry/registry.ts";
import { startHttpServer } from "../support/http-server.ts";
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
      auth.renew({ status: 401, headers, text: "" }, refused, [OWN_SCOPE], call),
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

describe("a request before a token is asked for", () => {
  test("has Basic credentials", async () => {
    await using setup = setUp();
    expect(await setup.auth.authorization()).toBe(`Basic ${btoa("me:hush-Xq7")}`);
    expect(setup.server.requests).toEqual([]);
  });

  test("has no credentials for an anonymous push, nor for an identity token", async () => {
    expect(await ownAuth().authorization()).toBeUndefined();
    const auth = ownAuth({ credentials: { identityToken: "id" } });
    expect(await auth.authorization()).toBeUndefined();
    expect([ownAuth().credentials(), auth.credentials()]).toEqual([undefined, { identityToken: "id" }]);
  });

  test("fails without a retry after a 401 that wants Basic", async () => {
    await using setup = setUp();
    const headers = new Headers({ "www-authenticate": 'Basic realm="Registry"' });
    expect(await setup.auth.renew(headers, "Basic eA==")).toBeUndefined();
    expect(await setup.auth.renew(new Headers(), undefined)).toBeUndefined();
  });

  test("is repeated once in the other alphabet after a 401 to a Basic value whose alphabet matters, and keeps to that", async () => {
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

  test("does not change its alphabet after a 403", async () => {
    const auth = ownAuth({ credentials: { username: "me", password: "a?~>" } });
    const usual = await auth.authorization();
    await auth.renew(new Headers({ "www-authenticate": "Negotiate" }), usual);
    expect(await auth.authorization()).toBe(usual);
  });

  test("fails without a retry where a token is denied without a challenge, and no token is asked for", async () => {
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

  test("without a lifetime is kept for a minute", async () => {
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
    await auth.renew({ status: 401, headers: setup.challenge(), text: "" }, undefined, own, client);
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

describe("credentials that end", () => {
  const NEXT = { username: "me", password: "next-Xq7" };
  const BASIC = new Headers({ "www-authenticate": 'Basic realm="Registry"' });
  const basicOf = ({ username, password }: typeof ME) => `Basic ${btoa(`${username}:${password}`)}`;

  /** An authenticator that is given these credentials one after the other, and the number of times it asked. */
  function renewing(next: readonly Credentials[], options: TestClientOptions = {}) {
    let asked = 0;
    const auth = ownAuth({ credentials: ME, renewCredentials: async () => next[asked++], ...options });
    return { ...auth, asked: () => asked };
  }

  test("are asked for once, for all whose requests were refused", async () => {
    const auth = renewing([NEXT]);
    const old = await auth.authorization();
    auth.accepted(old);
    const renewed = await Promise.all([1, 2, 3].map(() => auth.renew(BASIC, old)));
    expect(new Set(renewed)).toEqual(new Set([basicOf(NEXT)]));
    // Another request was under way for longer.
    expect(await auth.renew(BASIC, old)).toBe(basicOf(NEXT));
    expect(await auth.authorization()).toBe(basicOf(NEXT));
    expect(auth.asked()).toBe(1);
    expect(auth.secrets()).toEqual(expect.arrayContaining([ME.password, NEXT.password]));
  });

  test("are asked for again each time that they end", async () => {
    const third = { username: "me", password: "third-Xq7" };
    const auth = renewing([NEXT, third]);
    auth.accepted(await auth.authorization());
    auth.accepted(await auth.renew(BASIC, await auth.authorization()));
    expect(await auth.renew(BASIC, await auth.authorization())).toBe(basicOf(third));
    expect(auth.asked()).toBe(2);
  });

  test("have not ended where they were never accepted: they are wrong", async () => {
    const auth = renewing([NEXT]);
    expect(await auth.renew(BASIC, await auth.authorization())).toBeUndefined();
    expect(auth.asked()).toBe(0);
  });

  test("are asked for no second time where the new ones are refused at once", async () => {
    const auth = renewing([NEXT, ME]);
    const old = await auth.authorization();
    auth.accepted(old);
    const next = await auth.renew(BASIC, old);
    // The answer to an earlier request comes late.
    auth.accepted(old);
    expect(await auth.renew(BASIC, next)).toBeUndefined();
    expect(auth.asked()).toBe(1);
  });

  test.each([
    ["the same", [ME, ME]],
    ["none", []],
  ])("are final where %s are given again", async (_, next) => {
    const auth = renewing(next);
    const old = await auth.authorization();
    auth.accepted(old);
    expect(await auth.renew(BASIC, old)).toBeUndefined();
    expect(await auth.renew(BASIC, old)).toBeUndefined();
    expect(auth.asked()).toBe(1);
  });

  test("are not looked for in the other alphabet, which stays that of the registry", async () => {
    const first = { username: "me", password: "a?~>" };
    const next = { username: "me", password: "b?~>" };
    const safe = (credentials: typeof ME) => basicOf(credentials).replaceAll("+", "-").replaceAll("/", "_");
    const auth = renewing([next], { credentials: first });
    const learned = await auth.renew(BASIC, await auth.authorization());
    expect(learned).toBe(safe(first));
    auth.accepted(learned);
    expect(await auth.renew(BASIC, learned)).toBe(safe(next));
    expect(auth.asked()).toBe(1);
  });

  test.each([
    ["says that they have expired, as ECR's", "Your authorization token has expired. Reauthenticate.", 1],
    ["says that the user has no rights", "User: me is not authorized to perform: ecr:InitiateLayerUpload", 0],
  ])("are looked for after a 403 as well, one that %s", async (_, text, asked) => {
    await using server = startHttpServer(() => new Response(null, { status: 401, headers: BASIC }));
    let count = 0;
    const renewCredentials = async () => {
      count++;
      return NEXT;
    };
    const client = clientOf(server, { credentials: ME, renewCredentials });
    const { auth } = client.registry;
    auth.accepted(basicOf(ME));
    const refusal = { status: 403, headers: new Headers(), text };
    const renewed = await auth.renew(refusal, basicOf(ME), [OWN_SCOPE], client);
    expect([renewed, count]).toEqual([asked === 0 ? undefined : basicOf(NEXT), asked]);
  });

  test("at the token server are asked for once, for all sets of scopes", async () => {
    const known = { ...ME };
    await using server = startTokenServer({ credentials: known });
    let count = 0;
    const client = clientOf(
      { url: "http://registry.example" },
      {
        credentials: ME,
        renewCredentials: async () => {
          count++;
          return NEXT;
        },
      },
    );
    const { auth } = client.registry;
    const headers = new Headers({
      "www-authenticate": `Bearer realm="${server.realm}",service="${server.service}"`,
    });
    await auth.renew({ status: 401, headers, text: "" }, undefined, ["repository:a:pull"], client);
    known.password = NEXT.password;
    const names = ["b", "c", "d"];
    const tokens = await Promise.all(
      names.map((name) => auth.authorization([`repository:${name}:pull`], client)),
    );
    expect(new Set(tokens).size).toBe(3);
    expect(count).toBe(1);
    // These are refused before they were accepted.
    known.password = "gone";
    server.revokeAll();
    await rejection(auth.renew({ status: 401, headers, text: "" }, tokens[0], ["repository:b:pull"], client));
    expect(count).toBe(2);
    const error = await rejection(auth.authorization(["repository:e:pull"], client));
    expect([error.code, count]).toEqual(["UNAUTHORIZED", 2]);
  });

  test("are asked for once for a request, though others are accepted with the new ones meanwhile", async () => {
    await using server = startTokenServer({
      intercept: ({ basic: sent = "" }) => {
        auth.accepted(`Basic ${btoa(sent)}`);
        return new Response(null, { status: 401 });
      },
    });
    const auth = renewing([NEXT, { username: "me", password: "third-Xq7" }]);
    const headers = new Headers({
      "www-authenticate": `Bearer realm="${server.realm}",service="${server.service}"`,
    });
    expect((await rejection(auth.renew(headers, undefined))).code).toBe("UNAUTHORIZED");
    expect([auth.asked(), server.requests.length]).toEqual([1, 2]);
  });

  test("may last for a single request", async () => {
    const passwords = [1, 2, 3, 4].map((n) => `password ${n}`);
    let served = 0;
    await using server = startHttpServer((request) => {
      const password = passwords[served] ?? "";
      if (request.headers.get("authorization") !== basicOf({ username: "me", password }))
        return new Response(null, { status: 401, headers: BASIC });
      served++;
      return new Response(null);
    });
    let asked = 0;
    const renewCredentials = async () => ({ username: "me", password: passwords[++asked] ?? "" });
    const client = clientOf(server, {
      credentials: { username: "me", password: "password 1" },
      renewCredentials,
    });
    for (const _ of passwords)
      await exchange(client, { method: "GET", url: new URL(`${server.url}/v2/`) }, [200], client);
    expect([served, asked]).toEqual([4, 3]);
  });

  test("that cannot be had again are a failure for all who wait, and asked for again by the next", async () => {
    let count = 0;
    const failure = new PushError("CREDENTIAL_HELPER_FAILED", "no");
    const renewCredentials = async () => {
      if (++count === 1) throw failure;
      return NEXT;
    };
    const auth = ownAuth({ credentials: ME, renewCredentials });
    const old = await auth.authorization();
    auth.accepted(old);
    const waiting = [1, 2].map(() => rejection(auth.renew(BASIC, old)));
    expect(await Promise.all(waiting)).toEqual([failure, failure]);
    expect(await auth.renew(BASIC, old)).toBe(basicOf(NEXT));
    expect(count).toBe(2);
  });

  test("are asked for again where the request that asked was aborted, and another waits", async () => {
    let count = 0;
    const begun = Promise.withResolvers<void>();
    const renewCredentials = async (signal: AbortSignal) => {
      if (++count > 1) return NEXT;
      begun.resolve();
      return unlessAborted(new Promise<Credentials>(() => {}), signal);
    };
    const auth = ownAuth({ credentials: ME, renewCredentials });
    const old = await auth.authorization();
    auth.accepted(old);
    const abort = new AbortController();
    const reason = new Error("enough");
    const first = auth
      .renew(BASIC, old, { signal: abort.signal, onRetry: () => {} })
      .catch((error: unknown) => error);
    const second = auth.renew(BASIC, old);
    await begun.promise;
    abort.abort(reason);
    expect(await first).toBe(reason);
    expect(await second).toBe(basicOf(NEXT));
  });
});
